//! The store in one SQLite file, embedded in the master.
//!
//! One connection writes; those of the pool only read (WAL: readers and the writer never wait for
//! each other).

pub(super) mod copy;
mod disk_space;
mod engine;
pub(super) mod link;
mod lock;
pub(super) mod offline;
mod open;
mod rows;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use async_trait::async_trait;
use orchestra_contracts::Size;

#[cfg(test)]
pub(super) use self::open::MIGRATIONS;
use self::{disk_space::DiskSpace, lock::DatabaseFile};
use super::{
    LogCodec, Notification, StoreError,
    counts::{Counts, Open},
    database::{Database, SqlStore},
};

/// The embedded database.
pub type SqliteStore = SqlStore<Sqlite>;

/// The file of one master, and nobody else's.
#[derive(Debug)]
pub struct Sqlite {
    file: DatabaseFile,
    disk_space: Arc<DiskSpace>,
    counts: Arc<Counts>,
}

impl SqliteStore {
    /// Opens the file, after creating it and its folder where they do not exist.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] when it is held by another master, damaged, of a
    /// newer version, or cannot be written.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(path, Size(0), LogCodec::default()).await
    }

    /// Like [`Self::open`], but accepts no new work while less than `min_free` is free on its disk, and compresses
    /// logs with `codec`.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_with(
        path: impl AsRef<Path>,
        min_free: Size,
        codec: LogCodec,
    ) -> Result<Self, StoreError> {
        open::open(path.as_ref(), min_free, codec).await
    }
}

#[async_trait]
impl Database for Sqlite {
    /// A file that took the place of ours may not be read.
    fn check_reads(&self) -> Result<(), StoreError> {
        self.file.check()
    }

    fn check(&self) -> Result<(), StoreError> {
        self.disk_space.check()
    }

    fn counts(&self) -> Option<BTreeMap<String, Open>> {
        Some(self.counts.all())
    }

    async fn notification(&self) -> Notification {
        std::future::pending().await
    }

    async fn leads(&self) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn close(&self) {}
}

#[cfg(test)]
mod tests;
