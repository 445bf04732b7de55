//! What the worker asks of its master, as a trait so that tests can play one.

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

    /// How often there were orders; waits for a count that is not the one known.
    async fn orders(
        &self,
        worker: &WorkerName,
        known: Option<u64>,
        wait: Duration,
    ) -> Result<u64, ClientError>;

    /// Whole encoded frames that begin at `offset`. What is stored already is skipped.
    async fn append_log(
        &self,
        worker: &WorkerName,
        lease: &LeaseRef,
        offset: u64,
        frames: Bytes,
    ) -> Result<LogHead, ClientError>;

    /// A piece of a file that begins at `offset`. What is stored already is skipped.
    async fn append_artifact(
        &self,
        worker: &WorkerName,
        lease: &LeaseRef,
        path: &str,
        offset: u64,
        piece: Bytes,
    ) -> Result<ArtifactHead, ClientError>;

    /// At most `length` bytes of an upload from `offset` on, and how many it has in all.
    async fn upload_piece(
        &self,
        sha256: &ContentHash,
        offset: u64,
        length: u64,
    ) -> Result<(Bytes, u64), ClientError>;

    /// The jobs that the report's claim brought, if it has one.
    async fn update(&self, update: &JobUpdate) -> Result<Vec<Claimed>, ClientError>;

    /// What its clock shows, in whole seconds.
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

/// Whether the answer says that the attempt is no longer ours.
pub(crate) fn is_lease_lost(error: &ClientError) -> bool {
    matches!(error.kind(), Some(ProblemKind::LeaseLost | ProblemKind::NotFound))
}

/// A master that does not take the rest of a log along with a report is one of an older version,
/// maybe beside newer ones, and is being replaced: so long nothing is sent so.
const OLD: Duration = Duration::from_mins(10);

/// What is known of the way to the master. Says once when the master stops answering, and once when
/// it answers again.
#[derive(Debug, Default)]
pub(crate) struct Link {
    down: AtomicBool,
    /// When it last did not take a rest.
    refused_rest: Mutex<Option<Instant>>,
}

impl Link {
    /// Whether the last of a log may come along with a report.
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
