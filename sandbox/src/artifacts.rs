//! Finds the files that match a job's patterns when it has ended.
//!
//! It reports only files that the job's own user can read, because the engine, which reads the
//! files for the worker, may be able to read more. Links do not count as files, and only folders
//! and regular files are opened.

use orchestra_sandbox::protocol::{Artifact, Artifacts, MAX_PATH};

use crate::{
    folder::{Folder, has_gone, join},
    pattern::{Patterns, Place},
};

/// The most names to look at that could match.
const LOOKS: usize = 200_000;
/// The memory limit for folders that are still to be searched, in bytes.
const WAITING: usize = 2 << 20;
/// The limit for the total length of all reported paths, in bytes.
const TOLD: usize = 512 << 10;

/// Searches until `is_over`, or shortly after.
pub(crate) fn find(
    root: &Folder,
    patterns: &Patterns,
    limit: u64,
    is_over: impl Fn() -> bool,
) -> Artifacts {
    let Ok(seen) = root.look(b".") else {
        return Artifacts { incomplete: true, ..Artifacts::default() };
    };
    let mut search = Search {
        root,
        patterns,
        is_over,
        device: seen.device,
        looks: LOOKS,
        left: limit,
        text: TOLD,
        waiting: vec![(Vec::new(), patterns.start())],
        room: WAITING,
        found: Artifacts::default(),
    };
    while let Some((path, place)) = search.waiting.pop() {
        search.room += weight(&path, &place);
        search.look_into(&path, &place);
    }
    let mut found = search.found;
    found.files.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    found
}

struct Search<'a, F> {
    root: &'a Folder,
    patterns: &'a Patterns,
    is_over: F,
    /// The device of the working folder's mount.
    device: u64,
    looks: usize,
    /// How many more files, and bytes of their paths, may be reported.
    left: u64,
    text: usize,
    /// Folders in which something could match.
    waiting: Vec<(Vec<u8>, Place)>,
    room: usize,
    found: Artifacts,
}

impl<F: Fn() -> bool> Search<'_, F> {
    fn look_into(&mut self, path: &[u8], place: &Place) {
        let names = self.patterns.names(place);
        let folder = match self.root.below(path, names.is_some()) {
            Ok(folder) => folder,
            Err(error) => {
                self.found.incomplete |= !has_gone(&error);
                return;
            }
        };
        if let Some(names) = names {
            for name in names {
                self.look_at(&folder, path, place, name);
            }
            return;
        }
        let listed = folder.names(|name| self.look_at(&folder, path, place, name));
        self.found.incomplete |= !listed.is_ok_and(|all| all);
    }

    /// Returns whether to continue.
    fn look_at(&mut self, folder: &Folder, path: &[u8], place: &Place, name: &[u8]) -> bool {
        if self.looks == 0 || (self.is_over)() {
            self.found.incomplete = true;
            return false;
        }
        let (fits, inside) = self.patterns.step(place, name);
        if !fits && inside.is_empty() {
            return true;
        }
        self.looks -= 1;
        let path = join(path, name);
        let seen = match folder.look(name) {
            Ok(seen) if path.len() <= MAX_PATH => seen,
            Ok(_) => {
                self.found.incomplete = true;
                return true;
            }
            Err(error) => {
                self.found.incomplete |= !has_gone(&error);
                return true;
            }
        };
        if fits && seen.is_file() {
            self.keep(folder, path, name);
        } else if seen.is_folder() && seen.device == self.device && !inside.is_empty() {
            match self.room.checked_sub(weight(&path, &inside)) {
                Some(room) => {
                    self.room = room;
                    self.waiting.push((path, inside));
                }
                None => self.found.incomplete = true,
            }
        }
        true
    }

    fn keep(&mut self, folder: &Folder, path: Vec<u8>, name: &[u8]) {
        match folder.length_of_readable(name) {
            Ok(_) if self.left == 0 || self.text < path.len() => self.found.more += 1,
            Ok(bytes) => {
                self.left -= 1;
                self.text -= path.len();
                self.found.files.push(Artifact { path, bytes });
            }
            Err(error) if has_gone(&error) => {}
            Err(_) => self.found.unread += 1,
        }
    }
}

/// The memory that remembering a folder takes.
fn weight(path: &[u8], place: &Place) -> usize {
    size_of::<(Vec<u8>, Place)>() + path.len() + place.len() * size_of::<(usize, usize)>()
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::{fs::symlink, net::UnixListener},
        path::Path,
        process::Command,
    };

    use super::*;

    fn found(dir: &Path, patterns: &[&str], limit: u64) -> Artifacts {
        let patterns: Vec<Vec<u8>> = patterns.iter().map(|&pattern| pattern.into()).collect();
        find(&Folder::at(dir), &Patterns::of(&patterns), limit, || false)
    }

    fn paths(found: &Artifacts) -> Vec<String> {
        assert!(!found.incomplete, "{found:?}");
        let text = |file: &Artifact| String::from_utf8_lossy(&file.path).into_owned();
        found.files.iter().map(text).collect()
    }

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        dir
    }

    #[test]
    fn files_that_fit_are_found_once_and_by_path() {
        let dir = tree(&["b.log", "a.log", "x/c.log", "x/y/report.xml", "report.xml", "z"]);
        let found = |patterns: &[&str]| paths(&found(dir.path(), patterns, 9));
        assert_eq!(found(&["*.log", "a.log", "?.log"]), ["a.log", "b.log"]);
        assert_eq!(found(&["**/report.xml"]), ["report.xml", "x/y/report.xml"]);
        assert_eq!(
            found(&["**/*.log", "x/*/report.xml"]),
            ["a.log", "b.log", "x/c.log", "x/y/report.xml"]
        );
        assert_eq!(found(&["nothing", "x", "x/y", "../*", "x/../z", "./z"]), [""; 0]);
    }

    #[test]
    fn only_files_are_files() {
        let dir = tree(&["out/plain"]);
        let at = |name: &str| dir.path().join("out").join(name);
        symlink("/etc/passwd", at("link")).unwrap();
        symlink("plain", at("inner-link")).unwrap();
        symlink("/etc", at("folder-link")).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        assert!(Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());
        let patterns = ["out/*", "out/*/*", "out/folder-link/passwd", "out/link", "**/passwd"];
        assert_eq!(paths(&found(dir.path(), &patterns, 9)), ["out/plain"]);
    }

    #[test]
    fn what_is_over_the_limit_is_counted() {
        let dir = tree(&["a", "b", "c", "d"]);
        let found = found(dir.path(), &["*"], 3);
        assert_eq!((found.files.len(), found.more, found.files[0].bytes), (3, 1, 1));
    }

    #[test]
    fn when_the_time_is_over_it_says_so() {
        let dir = tree(&["a/b", "c"]);
        let patterns = Patterns::of(&["**/*".into()]);
        let found = find(&Folder::at(dir.path()), &patterns, 9, || true);
        assert_eq!(found, Artifacts { incomplete: true, ..Artifacts::default() });
    }

    /// A folder in which nothing can match may be as large as it likes.
    #[test]
    fn nobody_walks_where_nothing_can_fit() {
        let dir = tree(&["wanted/a", "large/a", "large/b/c"]);
        let looked = std::cell::Cell::new(0);
        let patterns = Patterns::of(&["wanted/*".into()]);
        let found = find(&Folder::at(dir.path()), &patterns, 9, || {
            looked.set(looked.get() + 1);
            false
        });
        assert_eq!((paths(&found), looked.get()), (vec!["wanted/a".to_owned()], 2));
    }
}
