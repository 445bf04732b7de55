//! What a job did to the files in its working folder, and which of them are kept.

use serde::{Deserialize, Serialize};

use crate::AttemptNo;

/// No path is longer. Linux allows 4096 (`PATH_MAX`), the working folder included.
const PATH_BYTES: usize = 1024;
/// Of one file's or folder's name (`NAME_MAX`).
const NAME_BYTES: usize = 255;

/// A file that an attempt left, as it is kept and can be fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// Below the working folder.
    pub path: String,
    pub bytes: u64,
    /// In lower-case hexadecimal digits, of the whole content.
    pub sha256: String,
    pub executable: bool,
}

/// The answer of `GET /api/job/{id}/artifacts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifacts {
    /// Which attempt left them.
    pub attempt: AttemptNo,
    /// By path.
    pub artifacts: Vec<Artifact>,
}

/// What became of the files in the working folder from the start of the command to its end. In a
/// shared folder it may be another job that did it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Changes {
    /// Paths, in order; bytes that are not UTF-8 are replaced.
    #[serde(default)]
    pub created: Vec<String>,
    #[serde(default)]
    pub modified: Vec<String>,
    #[serde(default)]
    pub deleted: Vec<String>,
    /// So many more are not listed.
    #[serde(default)]
    pub more: u64,
    /// There were too many files to look at all of them, so nothing is said of the rest.
    #[serde(default)]
    pub incomplete: bool,
}

/// The answer of `GET /api/job/{id}/changes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptChanges {
    pub attempt: AttemptNo,
    #[serde(flatten)]
    pub changes: Changes,
}

/// Whether it leads to a place below the folder that it is taken in, whatever links there
/// are not: names with single slashes between them, none of them `.` or `..`.
pub fn is_path(path: &str) -> bool {
    path.len() <= PATH_BYTES
        && !path.chars().any(char::is_control)
        && path
            .split('/')
            .all(|name| !name.is_empty() && name.len() <= NAME_BYTES && name != "." && name != "..")
}

/// Whether it is a path in which `*` and `?` stand for any characters of one name, and `**`
/// as a name for any folders.
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
