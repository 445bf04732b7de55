//! The state of the working folder at one moment, to find out later what has changed.
//!
//! It is bounded in entries, memory and time. A folder that was not read completely is marked as
//! such, and nothing is reported about entries that may be missing from it. No link is followed, no
//! other mount is entered, and nothing but folders is opened.

use std::hash::{DefaultHasher, Hash, Hasher};

use orchestra_sandbox::protocol::{Changes, MAX_PATH};

use crate::{
    folder::{Folder, has_gone, join},
    sys::Seen,
};

/// The most entries to look at.
const ENTRIES: usize = 10_000;
/// The limit for the total length of their paths, in bytes.
const TEXT: usize = 1 << 20;
/// The limit for the total length of all reported paths, in bytes.
const TOLD: usize = 128 << 10;

#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// The paths of all entries, one after the other.
    text: Vec<u8>,
    /// Sorted by path once it is complete. The working folder itself comes first, with an empty
    /// path.
    entries: Vec<Entry>,
    incomplete: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: u32,
    length: u32,
    folder: bool,
    /// For a folder: all of its entries are in the snapshot.
    read: bool,
    /// A hash that differs when the entry has changed.
    stamp: u64,
}

impl Snapshot {
    /// Scans until `is_over`, or shortly after.
    pub(crate) fn take(root: &Folder, is_over: impl Fn() -> bool) -> Self {
        let mut all = Self::default();
        let Ok(seen) = root.look(b".") else {
            all.incomplete = true;
            return all;
        };
        all.add(b"", &seen, seen.device);
        let mut next = 0;
        while let Some(entry) = all.entries.get(next) {
            if entry.folder {
                let read = all.read(root, next, seen.device, &is_over);
                all.entries[next].read = read;
                all.incomplete |= !read;
            }
            next += 1;
        }
        let Self { text, entries, .. } = &mut all;
        entries.sort_unstable_by(|one, other| one.path(text).cmp(other.path(text)));
        all
    }

    /// Returns whether all of this folder was read.
    fn read(
        &mut self,
        root: &Folder,
        index: usize,
        device: u64,
        is_over: &impl Fn() -> bool,
    ) -> bool {
        if is_over() {
            return false;
        }
        let path = self.entries[index].path(&self.text).to_vec();
        let folder = match root.below(&path, false) {
            Ok(folder) => folder,
            // Another job has deleted it, so nothing is in it.
            Err(error) => return has_gone(&error),
        };
        let mut whole = true;
        let listed = folder.names(|name| {
            let path = join(&path, name);
            if path.len() > MAX_PATH {
                whole = false;
                return true;
            }
            match folder.look(name) {
                Ok(_) if self.is_full() || is_over() => return false,
                Ok(seen) => self.add(&path, &seen, device),
                Err(error) => whole &= has_gone(&error),
            }
            true
        });
        listed.is_ok_and(|all| all) && whole
    }

    fn is_full(&self) -> bool {
        self.entries.len() > ENTRIES || self.text.len() > TEXT
    }

    fn add(&mut self, path: &[u8], seen: &Seen, device: u64) {
        let (at, length) = (self.text.len() as u32, path.len() as u32);
        self.text.extend_from_slice(path);
        let mut stamp = DefaultHasher::new();
        if seen.is_folder() {
            // Changes inside a folder are reported by themselves.
            (seen.inode, seen.mode).hash(&mut stamp);
        } else {
            seen.hash(&mut stamp);
        }
        let folder = seen.is_folder() && seen.device == device;
        self.entries.push(Entry { at, length, folder, read: false, stamp: stamp.finish() });
    }

    fn get(&self, path: &[u8]) -> Option<&Entry> {
        let found = self.entries.binary_search_by(|entry| entry.path(&self.text).cmp(path));
        found.ok().map(|index| &self.entries[index])
    }

    /// Whether this path, which is not in the snapshot, is known to have been absent: its closest
    /// ancestor in the snapshot was read, or was no folder.
    fn lacks(&self, mut path: &[u8]) -> bool {
        while !path.is_empty() {
            let slash = path.iter().rposition(|byte| *byte == b'/');
            path = &path[..slash.unwrap_or(0)];
            if let Some(above) = self.get(path) {
                return above.read || !above.folder;
            }
        }
        false
    }

    /// The changes from this snapshot to `after`.
    pub(crate) fn changes(&self, after: &Self, limit: usize) -> Changes {
        let incomplete = self.incomplete || after.incomplete;
        let mut changes = Changes { incomplete, ..Changes::default() };
        let mut told = Told { left: limit, text: TOLD, more: 0 };
        let (mut old, mut new) = (self.entries.iter().peekable(), after.entries.iter().peekable());
        loop {
            let (was, is) = (old.peek(), new.peek());
            let paths = (was.map(|it| it.path(&self.text)), is.map(|it| it.path(&after.text)));
            let (list, path) = match paths {
                (Some(was_path), Some(is_path)) if was_path == is_path => {
                    let same = old.next().map(|it| it.stamp) == new.next().map(|it| it.stamp);
                    // The working folder itself is never reported.
                    if same || is_path.is_empty() {
                        continue;
                    }
                    (&mut changes.modified, is_path)
                }
                (Some(path), is_path) if is_path.is_none_or(|is_path| path < is_path) => {
                    old.next();
                    if !after.lacks(path) {
                        continue;
                    }
                    (&mut changes.deleted, path)
                }
                (_, Some(path)) => {
                    new.next();
                    if !self.lacks(path) {
                        continue;
                    }
                    (&mut changes.created, path)
                }
                (_, None) => break,
            };
            if told.has_room_for(path) {
                list.push(path.to_vec());
            }
        }
        changes.more = told.more;
        changes
    }
}

impl Entry {
    fn path<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        &text[self.at as usize..][..self.length as usize]
    }
}

/// Counts what is reported and what is not.
struct Told {
    left: usize,
    text: usize,
    more: u64,
}

impl Told {
    fn has_room_for(&mut self, path: &[u8]) -> bool {
        if self.more > 0 || self.left == 0 || path.len() > self.text {
            self.more += 1;
            return false;
        }
        self.left -= 1;
        self.text -= path.len();
        true
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, fs, os::unix::fs::symlink, path::Path};

    use super::*;

    const MANY: usize = 100;

    fn snapshot(dir: &Path) -> Snapshot {
        Snapshot::take(&Folder::at(dir), || false)
    }

    fn changed(dir: &Path, change: impl FnOnce()) -> Changes {
        let before = snapshot(dir);
        change();
        before.changes(&snapshot(dir), MANY)
    }

    fn texts(paths: &[Vec<u8>]) -> Vec<&str> {
        paths.iter().map(|path| std::str::from_utf8(path).unwrap()).collect()
    }

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["a", "a/b", "gone", "gone/in"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        for file in ["a/b/kept", "a/b/edited", "gone/in/file", "z", "a.txt"] {
            fs::write(dir.path().join(file), "old").unwrap();
        }
        symlink("/etc/passwd", dir.path().join("link")).unwrap();
        symlink("/etc", dir.path().join("folder-link")).unwrap();
        dir
    }

    #[test]
    fn what_was_created_modified_and_deleted_is_told_in_order() {
        let dir = tree();
        let at = |path: &str| dir.path().join(path);
        let changes = changed(dir.path(), || {
            fs::create_dir_all(at("new/deep")).unwrap();
            fs::write(at("new/deep/file"), "").unwrap();
            fs::write(at("a/b/new"), "").unwrap();
            // Of the same length.
            fs::write(at("a/b/edited"), "new").unwrap();
            fs::remove_dir_all(at("gone")).unwrap();
            fs::remove_file(at("z")).unwrap();
            fs::create_dir(at("z")).unwrap();
            fs::write(at("z/x"), "").unwrap();
            fs::remove_file(at("link")).unwrap();
            symlink("/etc/group", at("link")).unwrap();
        });
        assert_eq!(texts(&changes.created), ["a/b/new", "new", "new/deep", "new/deep/file", "z/x"]);
        assert_eq!(texts(&changes.modified), ["a/b/edited", "link", "z"]);
        assert_eq!(texts(&changes.deleted), ["gone", "gone/in", "gone/in/file"]);
        assert_eq!((changes.more, changes.incomplete), (0, false));
    }

    #[test]
    fn nothing_that_happens_is_nothing_that_changed() {
        let dir = tree();
        assert_eq!(changed(dir.path(), || ()), Changes::default());
        let read = || drop(fs::read(dir.path().join("a/b/kept")).unwrap());
        assert_eq!(changed(dir.path(), read), Changes::default());
    }

    #[test]
    fn what_a_link_leads_to_is_not_looked_at() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tree());
        symlink(outside.path(), dir.path().join("link")).unwrap();
        let changes = changed(dir.path(), || {
            fs::write(outside.path().join("new"), "").unwrap();
            fs::write(outside.path().join("z"), "new").unwrap();
        });
        assert_eq!(changes, Changes::default());
    }

    #[test]
    fn what_is_over_the_limit_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let before = snapshot(dir.path());
        for n in 0..9 {
            fs::write(dir.path().join(n.to_string()), "").unwrap();
        }
        let changes = before.changes(&snapshot(dir.path()), 4);
        assert_eq!((texts(&changes.created), changes.more), (vec!["0", "1", "2", "3"], 5));
    }

    #[test]
    fn of_what_was_not_looked_at_nothing_is_said() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..40 {
            fs::create_dir(dir.path().join(n.to_string())).unwrap();
            fs::write(dir.path().join(format!("{n}/file")), "").unwrap();
        }
        // Wherever the time runs out, in either snapshot.
        for looks in 0..130 {
            let short = || {
                let left = Cell::new(looks);
                Snapshot::take(&Folder::at(dir.path()), || left.replace(left.get() - 1) <= 0)
            };
            for changes in [
                short().changes(&snapshot(dir.path()), MANY),
                snapshot(dir.path()).changes(&short(), MANY),
            ] {
                let incomplete = looks < 121;
                assert_eq!(changes, Changes { incomplete, ..Changes::default() }, "{looks} looks");
            }
        }
    }

    #[test]
    fn a_folder_of_too_many_files_takes_no_more_memory() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..=ENTRIES + 5 {
            fs::write(dir.path().join(n.to_string()), "").unwrap();
        }
        let all = snapshot(dir.path());
        assert!(all.incomplete && all.entries.len() == ENTRIES + 1, "{}", all.entries.len());
        assert!(!all.entries[0].read);
    }

    #[test]
    fn names_need_not_be_text_and_too_long_paths_are_left_out() {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
        let dir = tempfile::tempdir().unwrap();
        let odd = OsStr::from_bytes(b"\xff \n");
        let changes = changed(dir.path(), || fs::write(dir.path().join(odd), "").unwrap());
        assert_eq!((changes.created, changes.incomplete), (vec![b"\xff \n".to_vec()], false));
        let long = vec!["x".repeat(200); 6].join("/");
        let changes = changed(dir.path(), || fs::create_dir_all(dir.path().join(long)).unwrap());
        assert_eq!((changes.created.len(), changes.incomplete), (5, true));
    }
}
