//! A database without a master, locked so that none opens it.

use std::{fs, path::Path};

use sqlx::{Connection as _, SqliteConnection};

use super::{
    lock::{LockFile, beside},
    open,
};
use crate::store::StoreError;

/// Its one connection, with the lock that keeps masters away.
#[derive(Debug)]
pub(in crate::store) struct Offline {
    pub(in crate::store) connection: SqliteConnection,
    _lock: LockFile,
}

impl Offline {
    /// Opens a database that is there, checks its pages and brings its tables up to date.
    pub(in crate::store) async fn open(path: &Path) -> Result<Self, StoreError> {
        if !path.is_file() {
            return Err(missing(path));
        }
        let (lock, connection) = open::prepare(path).await?;
        Ok(Self { connection, _lock: lock })
    }

    /// Closes it, so that all of it stands in its one file, and gives it another name. A master that is
    /// started on the old one says that it is missing.
    pub(in crate::store) async fn move_to(
        self,
        path: &Path,
        kept: &Path,
    ) -> Result<(), StoreError> {
        self.connection.close().await?;
        move_away(path, kept)
    }
}

/// What there is of a database gets another name. The file goes first: without it nobody takes the write-ahead
/// log for that of another.
pub(super) fn move_away(path: &Path, kept: &Path) -> Result<(), StoreError> {
    for suffix in ["", "-wal", "-shm"] {
        let (from, to) = (beside(path, suffix), beside(kept, suffix));
        if from.exists() {
            fs::rename(&from, &to).map_err(|error| StoreError::Unusable {
                reason: format!("{} cannot be renamed: {error}", from.display()),
                hint: "the folder of the database must be writable",
            })?;
        }
    }
    Ok(())
}

pub(super) fn missing(path: &Path) -> StoreError {
    StoreError::Unusable {
        reason: format!("there is no database at {}", path.display()),
        hint: "name its folder with --data, or its URL with --database-url",
    }
}
