//! The calls that a worker makes to its master, as a trait so that tests can fake the master.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use orchestra_client::{Client, ClientError};
use orchestra_contracts::{
    ContentHash, ProblemKind, WorkerName,
    worker::{
        ArtifactHead, ClaimTerms, Claimed, Heartbeat, HeartbeatReply, JobUpdate, LeaseRef, LogHead,
        Registration, Welcome,
    },
};
use tokio::time::Instant;

#[async_trait]
pub(crate) trait Master: Send + Sync + 'static {
    async fn register(
        &self,
        worker: &WorkerName,
        of: &Registration,
    ) -> Result<Welcome, ClientError>;

    async fn claim(&self, terms: &ClaimTerms) -> Result<Vec<Claimed>, ClientError>;

    async fn heartbeat(
        &self,
        worker: &WorkerName,
        beat: &Heartbeat,
    ) -> Result<HeartbeatReply, ClientError>;

    /// The count of orders so far. Waits up to `wait` for a count other than `known`.
    async fn orders(
        &self,
        worker: &WorkerName,
        known: Option<u64>,
        wait: Duration,
    ) -> Result<u64, ClientError>;

    /// Appends whole encoded frames that begin at `offset`. The master skips what it already has.
    async fn append_log(
        &self,
        worker: &WorkerName,
        lease: &LeaseRef,
        offset: u64,
        frames: Bytes,
    ) -> Result<LogHead, ClientError>;

    /// Appends a piece of an artifact that begins at `offset`. The master skips what it already
    /// has.
    async fn append_artifact(
        &self,
        worker: &WorkerName,
        lease: &LeaseRef,
        path: &str,
        offset: u64,
        piece: Bytes,
    ) -> Result<ArtifactHead, ClientError>;

    /// At most `length` bytes of an upload from `offset` on, and the upload's total size.
    async fn upload_piece(
        &self,
        sha256: &ContentHash,
        offset: u64,
        length: u64,
    ) -> Result<(Bytes, u64), ClientError>;

    /// Sends a report. Returns the jobs that the report's claim brought, if it has one.
    async fn update(&self, update: &JobUpdate) -> Result<Vec<Claimed>, ClientError>;

    /// The time of the master's clock, in whole seconds.
    async fn date(&self) -> Result<Timestamp, ClientError>;
}

#[async_trait]
impl Master for Client {
    async fn register(
        &self,
        worker: &WorkerName,
        of: &Registration,
    ) -> Result<Welcome, ClientError> {
        Client::register(self, worker, of).await
    }

    async fn claim(&self, terms: &ClaimTerms) -> Result<Vec<Claimed>, ClientError> {
        Client::claim(self, terms).await
    }

    async fn heartbeat(
        &self,
        worker: &WorkerName,
        beat: &Heartbeat,
    ) -> Result<HeartbeatReply, ClientError> {
        Client::heartbeat(self, worker, beat).await
    }

    async fn orders(
        &self,
        worker: &WorkerName,
        known: Option<u64>,
        wait: Duration,
    ) -> Result<u64, ClientError> {
        Client::orders(self, worker, known, wait).await
    }

    async fn append_log(
        &self,
        worker: &WorkerName,
        lease: &LeaseRef,
        offset: u64,
        frames: Bytes,
    ) -> Result<LogHead, ClientError> {
        Client::append_log(self, worker, lease, offset, frames).await
    }

    async fn append_artifact(
        &self,
        worker: &WorkerName,
        lease: &LeaseRef,
        path: &str,
        offset: u64,
        piece: Bytes,
    ) -> Result<ArtifactHead, ClientError> {
        Client::append_artifact(self, worker, lease, path, offset, piece).await
    }

    async fn upload_piece(
        &self,
        sha256: &ContentHash,
        offset: u64,
        length: u64,
    ) -> Result<(Bytes, u64), ClientError> {
        Client::upload_piece(self, sha256, offset, length).await
    }

    async fn update(&self, update: &JobUpdate) -> Result<Vec<Claimed>, ClientError> {
        Client::report(self, update).await
    }

    async fn date(&self) -> Result<Timestamp, ClientError> {
        Client::date(self).await
    }
}

/// Whether the answer means that the attempt no longer belongs to this worker.
pub(crate) fn is_lease_lost(error: &ClientError) -> bool {
    matches!(error.kind(), Some(ProblemKind::LeaseLost | ProblemKind::NotFound))
}

/// A master that ignores the rest of a log in a report is of an older version, perhaps beside newer
/// ones, and is being replaced. For this long no report carries such a rest.
const OLD: Duration = Duration::from_mins(10);

/// The state of the connection to the master. It logs once when the master stops answering, and
/// once when it answers again.
#[derive(Debug, Default)]
pub(crate) struct Link {
    down: AtomicBool,
    /// When the master last ignored the rest of a log.
    refused_rest: Mutex<Option<Instant>>,
}

impl Link {
    /// Whether a report may carry the rest of a log.
    pub(crate) fn takes_rests(&self) -> bool {
        let refused = *self.refused_rest.lock().unwrap_or_else(PoisonError::into_inner);
        refused.is_none_or(|at| at.elapsed() > OLD)
    }

    pub(crate) fn note_no_rests(&self) {
        let mut refused = self.refused_rest.lock().unwrap_or_else(PoisonError::into_inner);
        *refused = Some(Instant::now());
    }

    pub(crate) fn note<T>(&self, result: &Result<T, ClientError>) {
        match result {
            Err(ClientError::Unreachable { reason, .. }) => {
                if !self.down.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        "the master does not answer: {reason}; trying again until it does"
                    );
                }
            }
            Ok(_) | Err(_) => {
                if self.down.swap(false, Ordering::Relaxed) {
                    tracing::info!("the master answers again");
                }
            }
        }
    }
}
