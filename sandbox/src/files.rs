//! Puts the files that come with a job into its working folder, as the job's own user.
//!
//! Other jobs may share the folder and may have put links anywhere, or do it now. No part of
//! a path is followed through a link, and what stands in a file's place is replaced, not written to.

use std::io::{self, ErrorKind, Write};

use orchestra_sandbox::protocol::File;

use crate::{folder::Folder, sys};

/// But for the umask's.
const PLAIN: u32 = 0o644;
const EXECUTABLE: u32 = 0o755;

/// The error is a sentence for the user.
pub(crate) fn put(root: &Folder, files: &[File]) -> Result<(), String> {
    for file in files {
        put_one(root, file).map_err(|why| {
            let path = String::from_utf8_lossy(&file.path);
            format!("the file {path} cannot be put into the working folder: {why}")
        })?;
    }
    Ok(())
}

fn put_one(root: &Folder, file: &File) -> Result<(), String> {
    let names: Vec<&[u8]> = file.path.split(|byte| *byte == b'/').collect();
    // The master has refused such a path already, and this is the place where it would lead out.
    if names.iter().any(|name| matches!(*name, b"" | b"." | b"..")) {
        return Err("it is no path below it".to_owned());
    }
    let (name, folders) = names.split_last().expect("a split has one part at least");
    let mut folder = None;
    for above in folders {
        let next = enter(folder.as_ref().unwrap_or(root), above);
        folder = Some(next.map_err(|error| {
            let above = String::from_utf8_lossy(above);
            match error.kind() {
                ErrorKind::NotADirectory => {
                    format!("{above} is a file, or a link, which is not followed")
                }
                _ => format!("{above}: {error}"),
            }
        })?);
    }
    write(folder.as_ref().unwrap_or(root), name, file).map_err(|error| match error.kind() {
        ErrorKind::IsADirectory => "there is a folder in its place".to_owned(),
        _ => error.to_string(),
    })
}

/// The folder of this name, which is made where there is none.
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

/// Beside its place first, so that nobody meets half of it there.
fn write(folder: &Folder, name: &[u8], file: &File) -> io::Result<()> {
    let folder = folder.as_file();
    let beside = format!(".orchestra-{:016x}", sys::random_number()?).into_bytes();
    let mode = if file.executable { EXECUTABLE } else { PLAIN };
    let mut new = sys::write_new_at(folder, &beside, mode)?;
    let put = new.write_all(&file.bytes).and_then(|()| sys::rename_at(folder, &beside, name));
    if put.is_err() {
        // What cannot be removed is of no harm, and the first error tells more.
        let _ = sys::remove_at(folder, &beside);
    }
    put
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
        File { path: path.into(), executable: false, bytes: bytes.to_vec() }
    }

    fn put_in(folder: &Path, file: File) -> Result<(), String> {
        put(&Folder::at(folder), &[file])
    }

    #[test]
    fn a_file_and_its_folders_are_made() {
        let dir = tempfile::tempdir().unwrap();
        let all: Vec<u8> = (0..=255).collect();
        put_in(dir.path(), file("a/b/c", &all)).unwrap();
        put_in(dir.path(), File { executable: true, ..file("a/run", b"") }).unwrap();
        assert_eq!(fs::read(dir.path().join("a/b/c")).unwrap(), all);
        let mode = |path| fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o111;
        assert_eq!((mode("a/b/c"), mode("a/run") & 0o100), (0, 0o100));
        // Nothing is left beside them.
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
            put_in(dir.path(), file(name, b"ours")).unwrap();
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
            let error = put_in(dir.path(), file(path, b"x")).unwrap_err();
            assert!(error.contains("a link, which is not followed"), "{path}: {error}");
        }
        for path in ["../x", "in/../../x", "/x", "", "in//x", "./x", "in/.."] {
            let error = put_in(dir.path(), file(path, b"x")).unwrap_err();
            assert!(error.contains("no path below it"), "{path}: {error}");
        }
        assert!(put_in(dir.path(), file("a\0b", b"x")).is_err());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_in_its_place_stays_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("folder")).unwrap();
        let error = put_in(dir.path(), file("folder", b"x")).unwrap_err();
        assert!(error.ends_with("there is a folder in its place"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
