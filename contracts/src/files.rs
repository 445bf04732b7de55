//! How a job changed the files in its working folder, and which of them are kept.

use serde::{Deserialize, Serialize};

use crate::AttemptNo;

/// The longest path. Linux allows 4096 (`PATH_MAX`), including the working folder.
const PATH_BYTES: usize = 1024;
/// The longest name of one file or folder (`NAME_MAX`).
const NAME_BYTES: usize = 255;

/// A file that an attempt produced and that is kept for download.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// Relative to the working folder.
    pub path: String,
    pub bytes: u64,
    /// The SHA-256 of the whole content, in lower-case hexadecimal digits.
    pub sha256: String,
    pub executable: bool,
}

/// The answer to `GET /api/job/{id}/artifacts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifacts {
    /// The attempt that produced them.
    pub attempt: AttemptNo,
    /// Ordered by path.
    pub artifacts: Vec<Artifact>,
}

/// How the files in the working folder changed between the start of the command and its end. In a
/// shared folder, another job may have made some of the changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Changes {
    /// Ordered paths; bytes that are not UTF-8 are replaced.
    #[serde(default)]
    pub created: Vec<String>,
    #[serde(default)]
    pub modified: Vec<String>,
    #[serde(default)]
    pub deleted: Vec<String>,
    /// The number of further changes that are not listed.
    #[serde(default)]
    pub more: u64,
    /// There were too many files to check all of them; changes to the rest are unknown.
    #[serde(default)]
    pub incomplete: bool,
}

/// The answer to `GET /api/job/{id}/changes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptChanges {
    pub attempt: AttemptNo,
    #[serde(flatten)]
    pub changes: Changes,
}

/// Whether the path stays below the folder that it is relative to, apart from symbolic links: names
/// separated by single slashes, none of them `.` or `..`.
pub fn is_path(path: &str) -> bool {
    path.len() <= PATH_BYTES
        && !path.chars().any(char::is_control)
        && path
            .split('/')
            .all(|name| !name.is_empty() && name.len() <= NAME_BYTES && name != "." && name != "..")
}

/// Whether this is a path in which `*` and `?` match characters of one name, and the name `**`
/// matches any folders.
pub fn is_pattern(pattern: &str) -> bool {
    is_path(pattern)
        && !pattern.ends_with("**")
        && pattern.split('/').all(|name| name == "**" || !name.contains("**"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_below_its_folder() {
        for good in ["a", "a/b.txt", ".hidden", "...", "a b", "ä/ß", "a\\b", "-rf"] {
            assert!(is_path(good), "{good:?}");
        }
        let (long, deep) = ("x".repeat(256), "a/".repeat(512) + "a");
        let wrong =
            ["", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/.", "a\0", "a\nb"];
        for wrong in wrong.into_iter().chain([long.as_str(), deep.as_str()]) {
            assert!(!is_path(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn two_stars_stand_for_folders_alone() {
        for good in ["a", "*", "*.log", "build/*/x?", "**/report.xml", "a/**/b"] {
            assert!(is_pattern(good), "{good:?}");
        }
        for wrong in ["**", "a/**", "a**b", "a/b**/c", "../*", "/*"] {
            assert!(!is_pattern(wrong), "{wrong:?}");
        }
    }
}
