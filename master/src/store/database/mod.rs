//! The store over a database that speaks SQL.
//!
//! ```text
//! callers --verbs--> bounded channel --> Writer: one connection, one transaction for all that wait
//! callers --reads--> pool of connections that only read
//! ```

mod store;

use std::{collections::BTreeMap, fmt};

use async_trait::async_trait;

use super::{Notification, StoreError, connection::Reads, counts::Open, writer::WriterHandle};

/// A database in the hands of one master.
#[derive(Debug)]
pub struct SqlStore<D> {
    pub(super) writer: WriterHandle,
    pub(super) reads: Reads,
    pub(super) database: D,
}

/// What one database has of its own, statements and transactions apart.
#[async_trait]
pub(super) trait Database: fmt::Debug + Send + Sync + 'static {
    /// Whether what the reads would find is ours.
    fn check_reads(&self) -> Result<(), StoreError>;

    /// Whether it has room for new work.
    fn check(&self) -> Result<(), StoreError>;

    /// How many jobs each queue has that have not ended, where that is kept in memory.
    fn counts(&self) -> Option<BTreeMap<String, Open>> {
        None
    }

    /// See [`Store::notification`](super::Store::notification).
    async fn notification(&self) -> Notification;

    /// See [`Store::leads`](super::Store::leads).
    async fn leads(&self) -> Result<bool, StoreError>;

    async fn close(&self);
}

#[expect(private_bounds, reason = "there are the two kinds of this room, and no others")]
impl<D: Database> SqlStore<D> {
    fn reads(&self) -> Result<&Reads, StoreError> {
        self.database.check_reads()?;
        Ok(&self.reads)
    }
}

impl<D> SqlStore<D> {
    /// How many transactions were committed: far fewer than calls, under load.
    pub fn commits(&self) -> u64 {
        self.writer.commits()
    }
}
