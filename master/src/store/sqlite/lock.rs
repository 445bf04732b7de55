//! Locks a database file: one master for one file, and one file for one master.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::store::StoreError;

/// The lock, held while the database is open. It is on a file of its own, because the locks on the
/// database file are SQLite's.
#[derive(Debug)]
pub(super) struct LockFile {
    held: File,
    had_database: bool,
}

/// Its second line, once there is a database: one that is missing later was lost.
const KEPT: &str = "\nthe database beside this file is in use\n";

impl LockFile {
    /// Takes the lock beside `database`.
    pub(super) fn take(database: &Path) -> Result<Self, StoreError> {
        let path = beside(database, ".lock");
        let cannot = |error: io::Error| StoreError::Unusable {
            reason: format!("{} cannot be locked: {error}", path.display()),
            hint: "the folder of the database must be writable and have room",
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(database, &mut file)),
            Err(TryLockError::Error(error)) => return Err(cannot(error)),
        }
        let mut before = String::new();
        file.read_to_string(&mut before).map_err(cannot)?;
        let had_database = before.contains(KEPT.trim());
        // For the sentence that the next one reads.
        let text = format!("{}{}", std::process::id(), if had_database { KEPT } else { "" });
        file.rewind().map_err(cannot)?;
        file.write_all(text.as_bytes()).map_err(cannot)?;
        file.set_len(text.len() as u64).map_err(cannot)?;
        Ok(Self { held: file, had_database })
    }

    /// Whether a master has had a database here before.
    pub(super) fn had_database(&self) -> bool {
        self.had_database
    }

    /// From now on there is one.
    pub(super) fn note_database(&mut self) -> Result<(), StoreError> {
        if !self.had_database {
            self.held.write_all(KEPT.as_bytes()).map_err(|error| StoreError::Unusable {
                reason: format!("its .lock file cannot be written: {error}"),
                hint: "the folder of the database must be writable and have room",
            })?;
            self.had_database = true;
        }
        Ok(())
    }
}

impl Drop for LockFile {
    /// Closing the file is not enough: a program that this process is starting at this moment has a copy of the
    /// descriptor until its `exec`, and the lock lasts until the last copy is closed (flock(2)).
    fn drop(&mut self) {
        let _ = self.held.unlock();
    }
}

fn held(database: &Path, file: &mut File) -> StoreError {
    let mut text = String::new();
    let read = file.read_to_string(&mut text);
    let pid = text.lines().next().unwrap_or_default();
    let holder = match read {
        Ok(_) if !pid.is_empty() => format!("by process {pid}"),
        _ => "by another process".to_owned(),
    };
    StoreError::Unusable {
        reason: format!("{} is in use {holder}", database.display()),
        hint: "stop that master, or give this one another database; several masters share a PostgreSQL \
               database (postgres://...)",
    }
}

/// The database file as it was when it was opened. SQLite goes on writing to a file that was
/// deleted or replaced, and loses those writes.
#[derive(Clone, Debug)]
pub(super) struct DatabaseFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl DatabaseFile {
    pub(super) fn of(path: &Path) -> Result<Self, StoreError> {
        let identity = identity(path).map_err(|error| gone(path, &error.to_string()))?;
        Ok(Self { path: path.to_owned(), identity })
    }

    /// Whether the path still leads to it.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        match identity(&self.path) {
            Ok(identity) if identity == self.identity => Ok(()),
            Ok(_) => Err(gone(&self.path, "it was replaced by another file")),
            Err(error) => Err(gone(&self.path, &error.to_string())),
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = path.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

fn gone(path: &Path, why: &str) -> StoreError {
    StoreError::Unavailable {
        reason: format!("{} is not the file that was opened: {why}", path.display()),
        hint: "put it back, or restart the master to use what is there now",
    }
}

/// `database` with something after its name, as SQLite names its own.
pub(super) fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_released_even_if_a_child_still_has_its_descriptor() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("jobs.db");
        let lock = LockFile::take(&database).unwrap();
        let copy = lock.held.try_clone().unwrap();
        assert!(LockFile::take(&database).is_err(), "only one at a time");
        drop(lock);
        drop(LockFile::take(&database).unwrap());
        drop(copy);
    }
}
