//! The one task that writes. It takes all calls that wait into one transaction
//! and answers them after its commit.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    batch::{Batch, Call, Request, Verb},
    lock::{DatabaseFile, LockFile},
};
use crate::store::StoreError;

/// As many calls may wait; further callers wait for a place.
const QUEUE: usize = 1024;
/// Calls in one transaction: enough that the disk is no longer what limits.
const BATCH_CALLS: usize = 512;
/// Bytes after which a transaction takes no more calls: the memory that a batch
/// needs, and the time that readers' snapshots fall behind, stay small.
const BATCH_BYTES: usize = 8 << 20;

/// What the callers hold of the writer.
#[derive(Debug)]
pub(super) struct WriterHandle {
    requests: mpsc::Sender<Request>,
    commits: Arc<AtomicU64>,
    closing: CancellationToken,
    task: TaskTracker,
}

/// Starts the writer. The lock is released when it has ended.
pub(super) fn start(
    connection: SqliteConnection,
    lock: LockFile,
    file: DatabaseFile,
) -> WriterHandle {
    let (requests, waiting) = mpsc::channel(QUEUE);
    let commits = Arc::new(AtomicU64::new(0));
    let closing = CancellationToken::new();
    let task = TaskTracker::new();
    let writer = Writer { connection, waiting, file, commits: commits.clone() };
    let closed = closing.clone();
    task.spawn(async move {
        writer.run(closed).await;
        drop(lock);
    });
    task.close();
    WriterHandle { requests, commits, closing, task }
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

struct Writer {
    connection: SqliteConnection,
    waiting: mpsc::Receiver<Request>,
    file: DatabaseFile,
    commits: Arc<AtomicU64>,
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
            match self.transact(&mut batch).await {
                Ok(()) => batch.answer(),
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
