//! The key that seals secrets. It is in a file beside the database and never in it, so that a
//! stolen database or backup reveals no secret.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use crate::error::MasterError;

const KEY: usize = 32;
/// The hexadecimal digits, and room for a line feed.
const LONGEST: u64 = 2 * KEY as u64 + 2;

/// Reads the key from this file, or creates the file if it does not exist. Two masters that create
/// it at the same time end up with the same key.
///
/// # Errors
/// When the file holds no key, when others may read or write it, or when it cannot be created.
pub(crate) fn load_or_make(path: &Path) -> Result<[u8; KEY], MasterError> {
    let refuse = |reason: String| MasterError::SecretKey { path: path.to_owned(), reason };
    let key = match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(path).and_then(|()| read(path))
        }
        key => key,
    };
    key.map_err(|error| refuse(error.to_string()))
}

fn read(path: &Path) -> io::Result<[u8; KEY]> {
    let file = File::open(path)?;
    let others = file.metadata()?.mode() & 0o077;
    if others != 0 {
        let shown = path.display();
        return Err(wrong(format!("others may read it or write to it; run: chmod 600 {shown}")));
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text)?;
    let mut key = [0; KEY];
    hex::decode_to_slice(text.trim_end(), &mut key)
        .map_err(|_| wrong("it is not a key of 64 hexadecimal digits".to_owned()))?;
    Ok(key)
}

fn wrong(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// Creates the file atomically: writes it under a temporary name, then links it to its own.
fn make(path: &Path) -> io::Result<()> {
    let mut key = [0; KEY];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    let mut name = path.as_os_str().to_owned();
    // Random, not the process id: a master in another container may have the same id.
    let mut unique = [0; 8];
    getrandom::fill(&mut unique).map_err(io::Error::other)?;
    name.push(format!(".{}", hex::encode(unique)));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&name)?;
    let written = writeln!(file, "{}", hex::encode(key)).and_then(|()| file.sync_all());
    // Unlike a rename, a hard link never replaces an existing key.
    let named = written.and_then(|()| match std::fs::hard_link(&name, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        named => named,
    });
    std::fs::remove_file(&name)?;
    named?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn it_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret.key");
        let key = load_or_make(&path).unwrap();
        assert_ne!(key, [0; KEY]);
        assert_eq!(load_or_make(&path).unwrap(), key);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn what_is_no_key_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret.key");
        for (text, mode, reason) in [
            ("", 0o600, "64 hexadecimal digits"),
            ("hunter2", 0o600, "64 hexadecimal digits"),
            (&"ab".repeat(33), 0o600, "64 hexadecimal digits"),
            (&"ab".repeat(32), 0o640, "chmod 600"),
        ] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = load_or_make(&path).unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains("hunter2"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
