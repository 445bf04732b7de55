//! The one task that writes. It takes all calls that wait into one transaction
//! and answers them after its commit.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use orchestra_contracts::{AttemptNo, JobId};
use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    batch::{Batch, Call, Request, Verb},
    lock::{DatabaseFile, LockFile},
    room::Room,
};
use crate::store::{LogAppend, StoreError};

/// As many calls may wait; further callers wait for a place.
const QUEUE: usize = 1024;
/// Calls in one transaction: enough that the disk is no longer what limits.
const BATCH_CALLS: usize = 512;
/// Bytes after which a transaction takes no more calls: the memory that a batch
/// needs, and the time that readers' snapshots fall behind, stay small.
const BATCH_BYTES: usize = 8 << 20;
/// Pages after which the write-ahead log is copied into the database.
const USUAL: &str = "PRAGMA wal_autocheckpoint = 1000";
const ONE_COMMIT: &str = "PRAGMA wal_autocheckpoint = 1";

/// What the callers hold of the writer.
#[derive(Debug)]
pub(super) struct WriterHandle {
    requests: mpsc::Sender<Request>,
    commits: Arc<AtomicU64>,
    failed: Arc<AtomicBool>,
    closing: CancellationToken,
    task: TaskTracker,
}

/// Starts the writer. The lock is released when it has ended.
pub(super) fn start(
    connection: SqliteConnection,
    lock: LockFile,
    file: DatabaseFile,
    room: Arc<Room>,
) -> WriterHandle {
    let (requests, waiting) = mpsc::channel(QUEUE);
    let commits = Arc::new(AtomicU64::new(0));
    let closing = CancellationToken::new();
    let task = TaskTracker::new();
    let failed = Arc::new(AtomicBool::new(false));
    let writer = Writer {
        connection,
        waiting,
        file,
        room,
        frugal: false,
        begun: HashMap::new(),
        commits: commits.clone(),
        failed: failed.clone(),
    };
    let closed = closing.clone();
    task.spawn(async move {
        writer.run(closed).await;
        drop(lock);
    });
    task.close();
    WriterHandle { requests, commits, failed, closing, task }
}

impl WriterHandle {
    /// Has one write done; answers when it is durable.
    pub(super) async fn ask<V: Verb>(&self, verb: V) -> Result<V::Answer, StoreError>
    where
        Call<V>: Into<Request>,
    {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Call { verb, reply }.into()).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Whether the newest write was not possible.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Does what is queued, then closes the connection.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        self.task.wait().await;
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable {
        reason: "it is closed".to_owned(),
        hint: "the master is shutting down; try again when it is back",
    }
}

/// Writes, and changes nothing: whether that is possible can be told only so.
pub(super) struct Probe;

impl Verb for Probe {
    type Answer = ();

    async fn run(connection: &mut SqliteConnection, calls: &[Self]) -> Result<Vec<()>, StoreError> {
        let version: i64 =
            sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await?;
        let write = sqlx::AssertSqlSafe(format!("PRAGMA user_version = {version}"));
        sqlx::query(write).execute(connection).await?;
        Ok(vec![(); calls.len()])
    }
}

struct Writer {
    connection: SqliteConnection,
    waiting: mpsc::Receiver<Request>,
    file: DatabaseFile,
    room: Arc<Room>,
    /// The write-ahead log is used again after every commit: see [`Self::adapt`].
    frugal: bool,
    /// Where the log of each attempt was when the disk was full.
    begun: HashMap<(JobId, AttemptNo), u64>,
    commits: Arc<AtomicU64>,
    failed: Arc<AtomicBool>,
}

impl Writer {
    async fn run(mut self, closing: CancellationToken) {
        loop {
            let first = tokio::select! {
                request = self.waiting.recv() => request,
                () = closing.cancelled(), if !self.waiting.is_closed() => {
                    // What is queued still comes, then `None`.
                    self.waiting.close();
                    continue;
                }
            };
            let Some(first) = first else { break };
            let batch = self.gather(first);
            self.write(batch).await;
        }
        if let Err(error) = self.connection.close().await {
            tracing::warn!(%error, "the database was not closed in order; nothing is lost");
        }
    }

    /// Takes what waits behind `first` along, up to the bounds.
    fn gather(&mut self, first: Request) -> Batch {
        let mut batch = Batch::default();
        let mut weight = 0;
        let mut next = Some(first);
        while let Some(request) = next {
            if !request.is_abandoned() {
                weight += request.weight();
                batch.push(request);
            }
            let full = batch.len() >= BATCH_CALLS || weight >= BATCH_BYTES;
            next = if full { None } else { self.waiting.try_recv().ok() };
        }
        batch
    }

    async fn write(&mut self, batch: Batch) {
        let mut todo = vec![batch];
        while let Some(mut batch) = todo.pop() {
            if let Err(no_room) = self.room.check() {
                let (full, share) = (self.room.is_full(), self.room.share());
                batch.hold_back(&no_room, |append| {
                    !full || is_within(share, &mut self.begun, append)
                });
            }
            self.adapt().await;
            let done = self.transact(&mut batch).await;
            let failed = done.as_ref().is_err_and(|e| !matches!(e, StoreError::Corrupt { .. }));
            self.failed.store(failed, Ordering::Relaxed);
            match done {
                Ok(()) => batch.answer(),
                // Once more, without what can wait.
                Err(StoreError::NoRoom { .. }) if self.room.give_up() => todo.push(batch),
                // One bad row must not fail the calls that only came along.
                Err(StoreError::Corrupt { .. }) if batch.len() > 1 => {
                    todo.extend(batch.into_requests().map(|request| {
                        let mut alone = Batch::default();
                        alone.push(request);
                        alone
                    }));
                    todo.reverse();
                }
                Err(error) => batch.fail(&error),
            }
        }
    }

    /// On a full disk the write-ahead log must not grow.
    async fn adapt(&mut self) {
        let full = self.room.is_full();
        if full == self.frugal {
            return;
        }
        let pages = if full { ONE_COMMIT } else { USUAL };
        if let Err(error) = sqlx::query(pages).execute(&mut self.connection).await {
            tracing::warn!(%error, "the write-ahead log stays as it is");
        }
        self.frugal = full;
        self.begun.clear();
    }

    async fn transact(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        self.file.check()?;
        // Not sqlx's own transactions: SQLite ends one by itself when the disk
        // is full, and they would not notice.
        sqlx::query("BEGIN IMMEDIATE").execute(&mut self.connection).await?;
        let done = match batch.run(&mut self.connection).await {
            Ok(()) => self.commit().await,
            Err(error) => Err(error),
        };
        if done.is_err() {
            // Fails where SQLite has rolled back already.
            let _ = sqlx::query("ROLLBACK").execute(&mut self.connection).await;
        }
        done
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        sqlx::query("COMMIT").execute(&mut self.connection).await?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Whether an attempt goes no further than its share from where it was when the
/// disk was full. A piece that is sent again counts once.
fn is_within(share: u64, begun: &mut HashMap<(JobId, AttemptNo), u64>, append: &LogAppend) -> bool {
    let begin = *begun.entry((append.job, append.attempt)).or_insert(append.offset);
    let end = append.offset.saturating_add(append.frames.len() as u64);
    end.saturating_sub(begin) <= share
}
