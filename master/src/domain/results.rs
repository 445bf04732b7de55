//! The results of an attempt besides its log: its artifacts, the changes to its working folder, and
//! what it ran in, where that was not reported at the start.

use orchestra_contracts::{
    Ran,
    files::{Artifact, Changes},
    worker::ArtifactHead,
};

/// The results, as the worker reports them at the attempt's end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AttemptResults {
    /// The uploaded files.
    pub artifacts: Vec<Artifact>,
    /// Stored with the attempt; the machine ignores it.
    pub changes: Option<Box<Changes>>,
    /// Present if the start is reported together with the end: the attempt was too short for a
    /// report of its own.
    pub ran: Option<Box<Ran>>,
    /// The first artifact that is not stored as reported. The store fills this in.
    pub missing: Option<MissingArtifact>,
}

/// An artifact that is not stored as reported, and how much of it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingArtifact {
    pub path: String,
    pub said: u64,
    pub head: ArtifactHead,
}

impl AttemptResults {
    /// Compares the artifacts with the `stored` files: by path, the number of bytes and their SHA-256.
    /// Sets `missing`.
    #[must_use]
    pub fn compared(mut self, stored: impl Fn(&str) -> Option<(u64, String)>) -> Self {
        self.missing = self.artifacts.iter().find_map(|said| {
            let (bytes, sha256) = stored(&said.path).unwrap_or_default();
            let whole = bytes == said.bytes && sha256 == said.sha256;
            let head = ArtifactHead { offset: bytes };
            (!whole).then(|| MissingArtifact { path: said.path.clone(), said: said.bytes, head })
        });
        self
    }
}

impl std::fmt::Display for MissingArtifact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, said, head } = self;
        if head.offset == *said {
            return write!(f, "the content of {path:?} that is stored is another");
        }
        write!(f, "of the {said} bytes of {path:?} {} are stored", head.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_is_not_as_it_is_said_to_be_is_named() {
        let said = |path: &str, bytes, sha256: &str| Artifact {
            path: path.to_owned(),
            bytes,
            sha256: sha256.to_owned(),
            executable: false,
        };
        let stored = |path: &str| match path {
            "whole" => Some((3, "abc".to_owned())),
            "begun" => Some((1, "a".to_owned())),
            _ => None,
        };
        let missing = |artifacts: Vec<Artifact>| {
            let results =
                AttemptResults { artifacts, ..AttemptResults::default() }.compared(stored);
            results.missing.map(|missing| missing.to_string())
        };
        let whole = || said("whole", 3, "abc");
        assert_eq!(missing(vec![]), None);
        assert_eq!(missing(vec![whole()]), None);
        for (wrong, sentence) in [
            (said("begun", 3, "abc"), "of the 3 bytes of \"begun\" 1 are stored"),
            (said("never", 3, "abc"), "of the 3 bytes of \"never\" 0 are stored"),
            (said("never", 0, "e3b"), "the content of \"never\" that is stored is another"),
            (said("whole", 3, "abd"), "the content of \"whole\" that is stored is another"),
        ] {
            assert_eq!(missing(vec![whole(), wrong]).as_deref(), Some(sentence));
        }
    }
}
