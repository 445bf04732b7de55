//! Input files of a job, and the patterns of its artifacts.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use super::{check::Checks, is_default, limits};
use crate::{
    ContentHash,
    files::{is_path, is_pattern},
};

/// A file that is written to the working folder before the command starts; it replaces an existing
/// one. Its content is given as `text`, as `base64` (RFC 4648, section 4), or as the name of an
/// `upload`, which is its SHA-256.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobFile {
    /// Relative to the working folder, like `data/input.csv`. Missing folders are created.
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<ContentHash>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub executable: bool,
}

impl JobFile {
    pub fn of_text(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: Some(text.into()), ..Self::default() }
    }

    pub fn of_bytes(path: impl Into<String>, bytes: &[u8]) -> Self {
        Self { path: path.into(), base64: Some(STANDARD.encode(bytes)), ..Self::default() }
    }

    pub fn of_upload(path: impl Into<String>, upload: ContentHash) -> Self {
        Self { path: path.into(), upload: Some(upload), ..Self::default() }
    }

    /// The content, if it is in the spec. `None` also if it is not valid base64.
    pub fn content(&self) -> Option<Vec<u8>> {
        match (&self.text, &self.base64) {
            (Some(text), None) => Some(text.clone().into_bytes()),
            (None, Some(encoded)) => STANDARD.decode(encoded).ok(),
            _ => None,
        }
    }

    /// Whether the content is given in exactly one way, and can be decoded.
    fn has_content(&self) -> bool {
        match self.upload {
            Some(_) => self.text.is_none() && self.base64.is_none(),
            None => self.content().is_some(),
        }
    }
}

/// Validates the files of a spec.
pub(super) fn check_files(files: &[JobFile], checks: &mut Checks) {
    checks.refuse_if(
        files.len() > limits::FILES,
        "/files",
        format!("has more than {} entries", limits::FILES),
    );
    let mut together = 0;
    for (place, file) in files.iter().enumerate() {
        let path = format!("/files/{place}/path");
        checks.refuse_if(
            !is_path(&file.path),
            &path,
            "is not a path below the working folder: no '..', no '/' at either end, at most 1024 bytes",
        );
        let before = &files[..place];
        checks.refuse_if(
            before.iter().any(|other| overlap(&other.path, &file.path)),
            &path,
            "is the path of another file of this job, or a folder of it",
        );
        together += file.content().map_or(0, |content| content.len());
        checks.refuse_if(
            !file.has_content(),
            &format!("/files/{place}"),
            "has its content in none of the ways text, base64 and upload, or in more than one",
        );
    }
    checks.refuse_if(
        together > limits::FILES_BYTES,
        "/files",
        format!(
            "has more than {} bytes of text and base64; upload the large ones",
            limits::FILES_BYTES
        ),
    );
}

/// Whether the paths are equal, or one of them would have to be a folder of the other.
fn overlap(one: &str, other: &str) -> bool {
    let within = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    within(one, other) || within(other, one)
}

pub(super) fn check_artifacts(patterns: &[String], checks: &mut Checks) {
    checks.refuse_if(
        patterns.len() > limits::ARTIFACT_PATTERNS,
        "/artifacts",
        format!("has more than {} entries", limits::ARTIFACT_PATTERNS),
    );
    for (place, pattern) in patterns.iter().enumerate() {
        checks.refuse_if(
            !is_pattern(pattern),
            &format!("/artifacts/{place}"),
            "is not a pattern of paths below the working folder, like build/*.tar.gz or **/report.xml",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointers(files: &[JobFile]) -> Vec<String> {
        let mut checks = Checks::default();
        check_files(files, &mut checks);
        checks.into_errors().into_iter().map(|error| error.pointer).collect()
    }

    #[test]
    fn a_file_has_its_content_in_one_way() {
        let text = JobFile::of_text("a", "x\n");
        assert_eq!(text.content().unwrap(), b"x\n");
        assert_eq!(JobFile::of_bytes("a", &[0, 255]).content().unwrap(), [0, 255]);
        let none = JobFile { path: "a".into(), ..JobFile::default() };
        let both = JobFile { base64: Some(String::new()), ..text.clone() };
        let garbled = JobFile { base64: Some("%".into()), ..none.clone() };
        let upload = JobFile::of_upload("a", "ab".repeat(32).parse().unwrap());
        assert_eq!(pointers(std::slice::from_ref(&upload)), [""; 0]);
        let twice = JobFile { text: Some(String::new()), ..upload };
        for wrong in [none, both, garbled, twice] {
            assert_eq!(pointers(&[text_at("b"), wrong]), ["/files/1"]);
        }
        assert_eq!(pointers(&[text]), [""; 0]);
    }

    fn text_at(path: &str) -> JobFile {
        JobFile::of_text(path, "")
    }

    #[test]
    fn no_file_stands_in_anothers_place() {
        assert_eq!(pointers(&[text_at("a/b"), text_at("a/b")]), ["/files/1/path"]);
        assert_eq!(pointers(&[text_at("a/b"), text_at("a")]), ["/files/1/path"]);
        assert_eq!(pointers(&[text_at("a"), text_at("ab"), text_at("b/a")]), [""; 0]);
    }

    #[test]
    fn the_bounds_hold() {
        let many = |count: usize| (0..count).map(|n| text_at(&n.to_string())).collect::<Vec<_>>();
        assert_eq!(pointers(&many(limits::FILES)), [""; 0]);
        assert_eq!(pointers(&many(limits::FILES + 1)), ["/files"]);
        let large = |bytes| [JobFile::of_bytes("a", &vec![0; bytes])];
        assert_eq!(pointers(&large(limits::FILES_BYTES)), [""; 0]);
        assert_eq!(pointers(&large(limits::FILES_BYTES + 1)), ["/files"]);
    }
}
