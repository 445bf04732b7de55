//! Writes a batch to SQLite.

use std::{collections::HashMap, sync::Arc};

use orchestra_contracts::{AttemptNo, JobId};

use super::{
    disk_space::DiskSpace,
    lock::{DatabaseFile, LockFile},
};
use crate::store::{
    LogAppend, StoreError,
    connection::{Connection, Link},
    counts::Counts,
    writer::{Batch, Engine},
};

/// Pages after which the write-ahead log is copied into the database.
const USUAL: &str = "PRAGMA wal_autocheckpoint = 1000";
const ONE_COMMIT: &str = "PRAGMA wal_autocheckpoint = 1";

/// The writing connection.
pub(super) struct SqliteEngine {
    connection: Connection,
    /// The lock on the file, released when everything is written.
    lock: LockFile,
    file: DatabaseFile,
    disk_space: Arc<DiskSpace>,
    counts: Arc<Counts>,
    /// The write-ahead log is used again after every commit: see [`Self::adapt`].
    frugal: bool,
    /// Where the log of each attempt was when the disk was full.
    begun: HashMap<(JobId, AttemptNo), u64>,
}

impl SqliteEngine {
    pub(super) fn new(
        connection: Connection,
        lock: LockFile,
        file: DatabaseFile,
        disk_space: Arc<DiskSpace>,
        counts: Arc<Counts>,
    ) -> Self {
        Self { connection, lock, file, disk_space, counts, frugal: false, begun: HashMap::new() }
    }

    fn tell(&mut self, statement: &'static str) -> Result<(), StoreError> {
        if let Link::Sqlite(link) = self.connection.link() {
            // One that answers a row has done what it says all the same.
            link.prepare_cached(statement)?.raw_query().next()?;
        }
        Ok(())
    }

    /// On a full disk the write-ahead log must not grow.
    fn adapt(&mut self) {
        let full = self.disk_space.is_full();
        if full == self.frugal {
            return;
        }
        let pages = if full { ONE_COMMIT } else { USUAL };
        if let Err(error) = self.tell(pages) {
            tracing::warn!(%error, "the write-ahead log stays as it is");
        }
        self.frugal = full;
        self.begun.clear();
    }
}

impl Engine for SqliteEngine {
    async fn prepare(&mut self, batch: &mut Batch) {
        if let Err(no_room) = self.disk_space.check() {
            let (full, share) = (self.disk_space.is_full(), self.disk_space.share());
            batch.hold_back(&no_room, |append| !full || is_within(share, &mut self.begun, append));
        }
        self.adapt();
    }

    async fn transact(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        self.file.check()?;
        // No guard that ends it when it is dropped: SQLite ends one by itself when the disk is full.
        self.tell("BEGIN IMMEDIATE")?;
        let done = match batch.run(&mut self.connection).await {
            Ok(()) => self.tell("COMMIT"),
            Err(error) => Err(error),
        };
        // There is nobody to be told.
        self.connection.notification.take();
        let tally = self.connection.tally.take();
        if done.is_ok() {
            self.counts.add(tally);
        } else {
            // Fails where SQLite has rolled back already.
            let _ = self.tell("ROLLBACK");
        }
        done
    }

    fn makes_room(&mut self, error: &StoreError) -> bool {
        matches!(error, StoreError::NoRoom { .. }) && self.disk_space.give_up()
    }

    async fn close(self) {
        if let Link::Sqlite(link) = self.connection.into_link()
            && let Err((_, error)) = link.close()
        {
            tracing::warn!(%error, "the database was not closed in order; nothing is lost");
        }
        drop(self.lock);
    }
}

/// Whether an attempt goes no further than its share from where it was when the
/// disk was full. A piece that is sent again counts once.
fn is_within(share: u64, begun: &mut HashMap<(JobId, AttemptNo), u64>, append: &LogAppend) -> bool {
    let begin = *begun.entry((append.job, append.attempt)).or_insert(append.offset);
    let end = append.offset.saturating_add(append.frames.len() as u64);
    end.saturating_sub(begin) <= share
}
