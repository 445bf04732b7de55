//! Writes the files that come with a job into its working folder, as the job's own user, piece by
//! piece as they arrive.
//!
//! Other jobs may share the folder and may have put links anywhere, or may do it at this moment. No
//! part of a path is followed through a link, and an existing file is replaced, not written to.

use std::{
    fs,
    io::{self, ErrorKind, Write},
};

use orchestra_sandbox::protocol::File;

use crate::{folder::Folder, sys};

/// File modes, before the umask.
const PLAIN: u32 = 0o644;
const EXECUTABLE: u32 = 0o755;

/// Files on their way into the working folder. The errors are sentences for the user.
#[derive(Debug)]
pub(crate) struct Incoming<'a> {
    root: &'a Folder,
    /// The number of files that have not arrived yet.
    awaited: u64,
    open: Option<Open>,
}

impl<'a> Incoming<'a> {
    pub(crate) fn new(root: &'a Folder, count: u64) -> Self {
        Self { root, awaited: count, open: None }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.awaited == 0
    }

    /// Takes a file, or its next piece.
    pub(crate) fn take(&mut self, piece: &File) -> Result<(), String> {
        let path = String::from_utf8_lossy(&piece.path);
        let failed = |why| format!("the file {path} cannot be put into the working folder: {why}");
        let mut open = match self.open.take() {
            None => Open::begin(self.root, piece).map_err(failed)?,
            Some(open) if open.path == piece.path => open,
            Some(_) => return Err("the worker sent pieces of two files at once".to_owned()),
        };
        open.content.write_all(&piece.bytes).map_err(|error| failed(error.to_string()))?;
        if piece.more {
            self.open = Some(open);
            return Ok(());
        }
        open.end().map_err(failed)?;
        self.awaited = self.awaited.saturating_sub(1);
        Ok(())
    }
}

/// A file that is not complete yet. It has a temporary name in the same folder, so that nobody sees
/// half of it under its own name, and is deleted if the rest never comes.
#[derive(Debug)]
struct Open {
    path: Vec<u8>,
    folder: fs::File,
    beside: Vec<u8>,
    content: fs::File,
    in_place: bool,
}

impl Open {
    fn begin(root: &Folder, piece: &File) -> Result<Self, String> {
        let folder = folder_of(root, &piece.path)?;
        Self::beside(&folder, piece).map_err(|error| error.to_string())
    }

    fn beside(folder: &Folder, piece: &File) -> io::Result<Self> {
        let folder = folder.as_file().try_clone()?;
        let beside = format!(".orchestra-{:016x}", sys::random_number()?).into_bytes();
        let mode = if piece.executable { EXECUTABLE } else { PLAIN };
        let content = sys::write_new_at(&folder, &beside, mode)?;
        Ok(Self { path: piece.path.clone(), folder, beside, content, in_place: false })
    }

    fn end(mut self) -> Result<(), String> {
        match sys::rename_at(&self.folder, &self.beside, name_of(&self.path)) {
            Ok(()) => {
                self.in_place = true;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::IsADirectory => {
                Err("there is a folder in its place".to_owned())
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.in_place {
            // A leftover file does no harm, and the first error is more useful.
            let _ = sys::remove_at(&self.folder, &self.beside);
        }
    }
}

fn name_of(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

/// The folder that the file belongs in. Missing folders are created.
fn folder_of(root: &Folder, path: &[u8]) -> Result<Folder, String> {
    let mut names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    // The master has already refused such a path; this check is where it would escape the folder.
    if names.iter().any(|name| matches!(*name, b"" | b"." | b"..")) {
        return Err("it is no path below it".to_owned());
    }
    names.pop();
    let mut folder = root.again().map_err(|error| error.to_string())?;
    for above in names {
        folder = enter(&folder, above).map_err(|error| {
            let above = String::from_utf8_lossy(above);
            match error.kind() {
                ErrorKind::NotADirectory => {
                    format!("{above} is a file, or a link, which is not followed")
                }
                _ => format!("{above}: {error}"),
            }
        })?;
    }
    Ok(folder)
}

/// Opens the folder of this name, and creates it if it is missing.
fn enter(folder: &Folder, name: &[u8]) -> io::Result<Folder> {
    match folder.passage(name) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            match sys::make_folder_at(folder.as_file(), name) {
                // Another job was quicker.
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            folder.passage(name)
        }
        entered => entered,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
        path::Path,
    };

    use super::*;

    fn file(path: &str, bytes: &[u8]) -> File {
        File { path: path.into(), executable: false, more: false, bytes: bytes.to_vec() }
    }

    fn put_in(folder: &Path, file: &File) -> Result<(), String> {
        Incoming::new(&Folder::at(folder), 1).take(file)
    }

    #[test]
    fn a_file_and_its_folders_are_made() {
        let dir = tempfile::tempdir().unwrap();
        let all: Vec<u8> = (0..=255).collect();
        put_in(dir.path(), &file("a/b/c", &all)).unwrap();
        put_in(dir.path(), &File { executable: true, ..file("a/run", b"") }).unwrap();
        assert_eq!(fs::read(dir.path().join("a/b/c")).unwrap(), all);
        let mode = |path| fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o111;
        assert_eq!((mode("a/b/c"), mode("a/run") & 0o100), (0, 0o100));
        // No temporary file is left.
        assert_eq!(fs::read_dir(dir.path().join("a")).unwrap().count(), 2);
    }

    #[test]
    fn what_stands_in_its_place_is_replaced_and_not_written_to() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let victim = outside.path().join("victim");
        fs::write(&victim, "theirs").unwrap();
        symlink(&victim, dir.path().join("link")).unwrap();
        fs::hard_link(&victim, dir.path().join("twin")).unwrap();
        for name in ["link", "twin"] {
            put_in(dir.path(), &file(name, b"ours")).unwrap();
            let placed = dir.path().join(name);
            assert!(placed.symlink_metadata().unwrap().is_file());
            assert_eq!(fs::read(placed).unwrap(), b"ours");
        }
        assert_eq!(fs::read(&victim).unwrap(), b"theirs");
    }

    #[test]
    fn no_path_leads_out() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        symlink(outside.path(), dir.path().join("evil")).unwrap();
        fs::create_dir(dir.path().join("in")).unwrap();
        symlink(outside.path(), dir.path().join("in/evil")).unwrap();
        fs::write(dir.path().join("plain"), "").unwrap();
        for path in ["evil/x", "in/evil/x", "plain/x"] {
            let error = put_in(dir.path(), &file(path, b"x")).unwrap_err();
            assert!(error.contains("a link, which is not followed"), "{path}: {error}");
        }
        for path in ["../x", "in/../../x", "/x", "", "in//x", "./x", "in/.."] {
            let error = put_in(dir.path(), &file(path, b"x")).unwrap_err();
            assert!(error.contains("no path below it"), "{path}: {error}");
        }
        assert!(put_in(dir.path(), &file("a\0b", b"x")).is_err());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_in_its_place_stays_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("folder")).unwrap();
        let error = put_in(dir.path(), &file("folder", b"x")).unwrap_err();
        assert!(error.ends_with("there is a folder in its place"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn pieces_become_one_file_when_the_last_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let root = Folder::at(dir.path());
        let mut incoming = Incoming::new(&root, 2);
        let piece = |bytes| File { more: true, ..file("in/a", bytes) };
        incoming.take(&piece(b"one")).unwrap();
        incoming.take(&piece(b"")).unwrap();
        assert!(!dir.path().join("in/a").exists());
        incoming.take(&file("in/a", b" two")).unwrap();
        assert_eq!(fs::read(dir.path().join("in/a")).unwrap(), b"one two");
        assert!(!incoming.is_complete());
        incoming.take(&file("b", b"")).unwrap();
        assert!(incoming.is_complete());
        assert_eq!(fs::read_dir(dir.path().join("in")).unwrap().count(), 1);
    }

    #[test]
    fn what_is_not_completed_goes() {
        let dir = tempfile::tempdir().unwrap();
        let root = Folder::at(dir.path());
        let begun = || File { more: true, ..file("a", b"x") };
        let mut incoming = Incoming::new(&root, 2);
        incoming.take(&begun()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let error = incoming.take(&file("b", b"x")).unwrap_err();
        assert_eq!(error, "the worker sent pieces of two files at once");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        incoming.take(&begun()).unwrap();
        drop(incoming);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
