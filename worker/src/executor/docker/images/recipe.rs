//! The content of one image's folder, from which both its hash and its build context are made.
//! Pure. Since both come from the same bytes, a reference always names exactly what was built.

use std::{
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

pub(super) const DOCKERFILE: &str = "Dockerfile";

/// A Dockerfile that mentions this file finds it in its build context. It holds the certificate
/// authorities that this machine trusts, for networks where a private authority signs everything.
pub(super) const CA_BUNDLE: &str = "orchestra-ca.crt";

/// Six bytes, twelve digits: among a thousand edits of one folder, two collide with a chance of one
/// to five hundred million.
const HASH_BYTES: usize = 6;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recipe {
    name: String,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Relative to the folder.
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    /// Only this bit of the mode counts. The rest depends on the umask at the time of the clone.
    File {
        executable: bool,
        bytes: Vec<u8>,
    },
    Link(PathBuf),
}

impl Recipe {
    pub(super) fn new(name: String, entries: Vec<Entry>) -> Self {
        Self { name, entries }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn reference(&self) -> String {
        let mut hash = Sha256::new();
        for Entry { path, kind } in &self.entries {
            let (letter, bytes): (u8, &[u8]) = match kind {
                Kind::Folder => (b'd', &[]),
                Kind::File { executable: false, bytes } => (b'f', bytes),
                Kind::File { executable: true, bytes } => (b'x', bytes),
                Kind::Link(target) => (b'l', target.as_os_str().as_bytes()),
            };
            hash.update([letter]);
            for part in [path.as_os_str().as_bytes(), bytes] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
        }
        format!("orchestra/{}:{}", self.name, hex::encode(&hash.finalize()[..HASH_BYTES]))
    }

    /// Whether the Dockerfile takes its base image as `ARG BASE`.
    pub(super) fn needs_base(&self) -> bool {
        self.dockerfile().lines().any(|line| {
            let mut words = line.split([' ', '\t', '=']).filter(|word| !word.is_empty());
            words.next().is_some_and(|word| word.eq_ignore_ascii_case("arg"))
                && words.next() == Some("BASE")
        })
    }

    /// Whether the Dockerfile mentions [`CA_BUNDLE`] and the folder has none of its own.
    pub(super) fn wants_ca_bundle(&self) -> bool {
        self.dockerfile().contains(CA_BUNDLE)
            && !self.entries.iter().any(|entry| entry.path == Path::new(CA_BUNDLE))
    }

    fn dockerfile(&self) -> String {
        let found = self.entries.iter().find_map(|Entry { path, kind }| match kind {
            Kind::File { bytes, .. } if path == Path::new(DOCKERFILE) => Some(bytes),
            _ => None,
        });
        found.map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
    }

    /// The build context: files of root without times, so that the engine's cache recognises them.
    pub(super) fn context(&self, ca_bundle: Option<&[u8]>) -> io::Result<Vec<u8>> {
        let mut tar = tar::Builder::new(Vec::new());
        for Entry { path, kind } in &self.entries {
            match kind {
                Kind::Folder => {
                    let mut header = header(tar::EntryType::Directory, 0o755, 0);
                    tar.append_data(&mut header, path, io::empty())?;
                }
                Kind::File { executable, bytes } => {
                    let mode = if *executable { 0o755 } else { 0o644 };
                    let mut header = header(tar::EntryType::Regular, mode, bytes.len());
                    tar.append_data(&mut header, path, bytes.as_slice())?;
                }
                Kind::Link(target) => {
                    let mut header = header(tar::EntryType::Symlink, 0o777, 0);
                    tar.append_link(&mut header, path, target)?;
                }
            }
        }
        if let Some(bytes) = ca_bundle {
            let mut header = header(tar::EntryType::Regular, 0o644, bytes.len());
            tar.append_data(&mut header, CA_BUNDLE, bytes)?;
        }
        tar.into_inner()
    }
}

fn header(kind: tar::EntryType, mode: u32, size: usize) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size as u64);
    header.set_mtime(0);
    header
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn recipe(dockerfile: &str) -> Recipe {
        let file = |path: &str, executable, bytes: &str| Entry {
            path: path.into(),
            kind: Kind::File { executable, bytes: bytes.into() },
        };
        let entries = vec![
            file(DOCKERFILE, false, dockerfile),
            Entry { path: "bin".into(), kind: Kind::Folder },
            file("bin/tool", true, "echo"),
            Entry { path: "here".into(), kind: Kind::Link("bin/tool".into()) },
        ];
        Recipe::new("tiny".to_owned(), entries)
    }

    #[test]
    fn a_base_is_needed_where_the_dockerfile_has_the_argument() {
        for text in ["ARG BASE\nFROM ${BASE}", "# it\n  arg  BASE=debian\nFROM ${BASE}"] {
            assert!(recipe(text).needs_base(), "{text}");
        }
        for text in ["FROM debian", "ARG BASELINE=1\nFROM debian", "# ARG BASE\nFROM debian", ""] {
            assert!(!recipe(text).needs_base(), "{text}");
        }
    }

    #[test]
    fn the_context_has_every_entry_with_a_plain_mode_and_the_bundle_if_asked_for() {
        let recipe = recipe("FROM x\nCOPY orchestra-ca.crt /etc/ssl/certs/");
        assert!(recipe.wants_ca_bundle());
        let bytes = recipe.context(Some(b"authority")).unwrap();
        let mut seen = Vec::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            if let Some(target) = entry.link_name().unwrap() {
                text = target.display().to_string();
            }
            let path = entry.path().unwrap().display().to_string();
            seen.push((path, entry.header().mode().unwrap(), text));
        }
        let entry = |path: &str, mode, text: &str| (path.to_owned(), mode, text.to_owned());
        assert_eq!(
            seen[1..],
            [
                entry("bin", 0o755, ""),
                entry("bin/tool", 0o755, "echo"),
                entry("here", 0o777, "bin/tool"),
                entry(CA_BUNDLE, 0o644, "authority"),
            ]
        );
    }
}
