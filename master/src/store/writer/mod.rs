//! The writer: the one task or thread of a master that writes. It takes all waiting calls into one
//! transaction, and answers them after its commit.

mod batch;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use futures::executor::block_on;
use tokio::sync::{mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(super) use self::batch::{Batch, Call, Request};
use super::{StoreError, verbs::Verb};

/// The capacity of the queue of calls. When it is full, callers wait.
const QUEUE: usize = 1024;
/// The most calls in one transaction: enough that the disk is no longer the limit.
const BATCH_CALLS: usize = 512;
/// The size from which a transaction takes no more calls, in bytes. It bounds the memory of a
/// batch, and how far readers' snapshots fall behind.
const BATCH_BYTES: usize = 8 << 20;

/// One database, as the writer needs it.
pub(super) trait Engine: Send + 'static {
    /// Fails the calls for which the disk lacks space.
    fn prepare(&mut self, batch: &mut Batch) -> impl Future<Output = ()> + Send;

    /// Carries out the batch: all or nothing. `Ok` only when the commit is durable.
    fn transact(
        &mut self,
        batch: &mut Batch,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Whether it has freed space, so that the failed batch can be tried once more.
    fn makes_room(&mut self, error: &StoreError) -> bool;

    fn close(self) -> impl Future<Output = ()> + Send;
}

/// Calls that the writer gets together, so that one transaction carries out all of them.
#[derive(Default)]
pub(super) struct Parcel(Vec<Request>);

impl Parcel {
    /// Adds a call. Its result comes when the parcel was sent and the commit is durable.
    pub(super) fn add<V: Verb>(
        &mut self,
        verb: V,
    ) -> impl Future<Output = Result<V::Answer, StoreError>> + use<V>
    where
        Call<V>: Into<Request>,
    {
        let (reply, answer) = oneshot::channel();
        self.0.push(Call { verb, reply }.into());
        async { answer.await.map_err(|_| closed())? }
    }
}

/// The callers' handle to the writer.
#[derive(Debug)]
pub(super) struct WriterHandle {
    requests: mpsc::Sender<Parcel>,
    commits: Arc<AtomicU64>,
    failed: Arc<AtomicBool>,
    closing: CancellationToken,
    task: TaskTracker,
}

/// Starts the writer as a task, for an engine that waits.
pub(super) fn start(engine: impl Engine) -> WriterHandle {
    let (handle, writer) = prepare(engine);
    handle.task.spawn(writer.run(handle.closing.clone()));
    handle
}

/// Starts the writer on a thread of its own, for an engine whose calls block and need no runtime.
pub(super) fn start_on_a_thread(engine: impl Engine) -> Result<WriterHandle, StoreError> {
    let (handle, writer) = prepare(engine);
    let (closing, ended) = (handle.closing.clone(), handle.task.token());
    let run = move || {
        block_on(writer.run(closing));
        drop(ended);
    };
    thread::Builder::new().name("store".to_owned()).spawn(run).map_err(|error| {
        let reason = format!("the thread that writes cannot be started: {error}");
        StoreError::Unusable { reason, hint: "look at the limits of this user's processes" }
    })?;
    Ok(handle)
}

fn prepare<E: Engine>(engine: E) -> (WriterHandle, Writer<E>) {
    let (requests, waiting) = mpsc::channel(QUEUE);
    let commits = Arc::new(AtomicU64::new(0));
    let failed = Arc::new(AtomicBool::new(false));
    let writer = Writer { engine, waiting, commits: commits.clone(), failed: failed.clone() };
    let (closing, task) = (CancellationToken::new(), TaskTracker::new());
    task.close();
    (WriterHandle { requests, commits, failed, closing, task }, writer)
}

impl WriterHandle {
    /// Carries out one write; returns when it is durable.
    pub(super) async fn ask<V: Verb>(&self, verb: V) -> Result<V::Answer, StoreError>
    where
        Call<V>: Into<Request>,
    {
        let mut parcel = Parcel::default();
        let answer = parcel.add(verb);
        self.send(parcel).await;
        answer.await
    }

    /// Carries out writes together. If the writer is closed, each gets that error.
    pub(super) async fn send(&self, parcel: Parcel) {
        drop(self.requests.send(parcel).await);
    }

    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Whether the latest write failed.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Carries out the queued calls, then closes the connection.
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

struct Writer<E> {
    engine: E,
    waiting: mpsc::Receiver<Parcel>,
    commits: Arc<AtomicU64>,
    failed: Arc<AtomicBool>,
}

impl<E: Engine> Writer<E> {
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
        self.engine.close().await;
    }

    /// Takes the calls that wait behind `first` into the batch, up to the limits.
    fn gather(&mut self, first: Parcel) -> Batch {
        let mut batch = Batch::default();
        let mut weight = 0;
        let mut next = Some(first);
        while let Some(Parcel(requests)) = next {
            for request in requests.into_iter().filter(|request| !request.is_abandoned()) {
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
            self.engine.prepare(&mut batch).await;
            let done = self.engine.transact(&mut batch).await;
            let failed = done.as_ref().is_err_and(|e| !matches!(e, StoreError::Corrupt { .. }));
            self.failed.store(failed, Ordering::Relaxed);
            match done {
                Ok(()) => {
                    self.commits.fetch_add(1, Ordering::Relaxed);
                    batch.answer();
                }
                // Once more, without what can wait.
                Err(error) if self.engine.makes_room(&error) => todo.push(batch),
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
}
