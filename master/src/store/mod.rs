//! The database of jobs, attempts, logs and workers. Only this module writes SQL.
//!
//! [`Store`] is the interface for the rest of the master. A write is durable when its call returns.
//! Adapters batch: calls that wait at the same time share one transaction.

mod applied;
mod artifact;
mod backup;
mod batch;
mod claim;
mod compatibility;
mod compression;
mod connection;
mod counts;
mod database;
mod error;
mod filter;
mod jitter;
mod log;
#[cfg(any(test, feature = "memory-store"))]
mod memory;
mod notification;
mod open;
mod placement;
mod postgres;
mod queue;
mod renewal;
mod retention;
mod rows;
mod schedule;
mod settle;
mod sql;
mod sqlite;
mod statement;
mod submission;
mod token;
mod transfer;
mod upload;
mod verbs;
mod webhook;
mod worker;
mod writer;

use std::{fmt, ops::Range};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use orchestra_contracts::{
    Attempt, AttemptNo, ContentHash, DeliveryId, JobId, JobSpec, QueueChange, QueueName,
    ScheduleChange, ScheduleName, TokenId, WebhookId, WorkerName,
    files::{Artifact, Changes},
    worker::{LeaseRef, LogHead, Registration},
};

use crate::domain::{Job, JobEvent, LeasePolicy, NewJob, QueueRules, Rules};

pub use applied::Applied;
pub use artifact::{ArtifactLimit, ArtifactPiece, PieceStored};
pub use backup::{Backup, Restored, backup, restore, settle};
pub use batch::{BatchReply, BatchRequest, Report, call_by_call};
pub use claim::{Claim, ClaimSpec, LeaseTerms};
pub use compression::LogCodec;
pub use error::StoreError;
pub use filter::{JobFilter, ListOrder};
pub use log::{Appended, LogAppend, LogChunk, Order};
#[cfg(any(test, feature = "memory-store"))]
pub use memory::MemoryStore;
pub use notification::Notification;
pub use open::{open, open_with};
pub use placement::head_after;
pub use postgres::{Postgres, PostgresStore};
pub use queue::QueueRecord;
pub use renewal::Renewal;
pub use retention::{Bounds, Part};
pub use schedule::{Added, Begin, MAX_SCHEDULES, ScheduleRecord, Skip, Step, Stepped};
pub use settle::{SettleTerms, Settled};
pub use sqlite::{Sqlite, SqliteStore};
pub use submission::{Fingerprint, KEYS_KEPT, Once, Submission, Submitted};
pub use token::{TokenGrant, TokenHash, TokenRecord};
pub use transfer::{Moved, transfer};
pub use upload::{UPLOADS_KEPT, UploadPiece, UploadStored};
pub use webhook::{
    DELIVERIES_KEPT, DeliveryRecord, DueDelivery, Tried, WebhookGrant, WebhookRecord,
};
pub use worker::{Drained, WorkerRecord};

/// The database of a master. Lookups return `None` for what does not exist.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Adds jobs, all or none, and numbers them in their order. Adds none if there was a submission
    /// with the same key within [`KEYS_KEPT`]. Called without jobs, it only looks for that
    /// submission and does not store the key. A job with dependencies, or of an array with a bound
    /// on its concurrency, waits until the ends of other jobs release it.
    async fn submit(
        &self,
        jobs: Vec<NewJob>,
        once: Option<Once>,
        now: Timestamp,
    ) -> Result<Submitted, StoreError>;

    /// Adds jobs without a key.
    async fn insert(&self, specs: Vec<JobSpec>, now: Timestamp) -> Result<Vec<Job>, StoreError> {
        let jobs = specs.into_iter().map(NewJob::from).collect();
        match self.submit(jobs, None, now).await? {
            Submitted::New(jobs) => Ok(jobs),
            _ => Ok(Vec::new()),
        }
    }

    /// Hands out the oldest claimable jobs that each worker takes. Serves the claims in turn; each
    /// gets at most as many jobs as it has tokens, within the rules of their queues. A draining
    /// worker gets none.
    async fn claim(&self, claims: Vec<Claim>, rules: Rules) -> Result<Vec<Vec<Job>>, StoreError>;

    /// Carries out a batch, in one commit where the adapter can. See [`BatchRequest`].
    async fn batch(&self, batch: BatchRequest) -> BatchReply {
        batch::call_by_call(self, batch).await
    }

    /// Applies one event to one job through the state machine. `None` if there is no such job.
    async fn apply(
        &self,
        id: JobId,
        event: JobEvent,
        rules: Rules,
    ) -> Result<Option<Applied>, StoreError>;

    /// Applies an event together with the rest of the log, in one commit where the adapter can. See
    /// [`Report`].
    async fn report(&self, report: Report, rules: Rules) -> Result<Option<Applied>, StoreError> {
        let Report { job, event, rest } = report;
        let Some(rest) = rest else { return self.apply(job, event, rules).await };
        let appended = self.append_log(rest).await;
        batch::answer(appended, self.apply(job, event, rules).await)
    }

    /// Applies `LeaseExpired` to at most `limit` held jobs whose lease expired before `rules.now`.
    /// Returns the jobs that moved.
    async fn expire(&self, rules: Rules, limit: u32) -> Result<Vec<Applied>, StoreError>;

    /// Renews the leases of one worker and marks the worker as seen. The answer lists the leases
    /// that it has `lost`, the jobs that it has to `stop`, and the leases that are `longer` than
    /// the base.
    async fn renew(
        &self,
        worker: &WorkerName,
        leases: Vec<LeaseRef>,
        policy: LeasePolicy,
        now: Timestamp,
    ) -> Result<Renewal, StoreError>;

    /// Appends whole frames to the log of the newest attempt, fenced by the proof.
    async fn append_log(&self, append: LogAppend) -> Result<Appended, StoreError>;

    /// Appends to an artifact of the newest attempt, fenced by the proof. The artifact becomes
    /// visible when the attempt ends with it; artifacts that the end does not name are dropped
    /// then.
    async fn append_artifact(&self, piece: ArtifactPiece) -> Result<PieceStored, StoreError>;

    /// Appends to an uploaded file, which jobs can use once it is complete.
    async fn append_upload(&self, piece: UploadPiece) -> Result<UploadStored, StoreError>;

    /// Drops some of the uploads that no job uses and that were not touched for [`UPLOADS_KEPT`].
    /// Returns how many.
    async fn forget_uploads(&self, now: Timestamp) -> Result<usize, StoreError>;

    /// The next jobs whose part is to be pruned, oldest end first: at most `limit`, and no more
    /// than one transaction should prune.
    async fn prunable(
        &self,
        part: Part,
        bounds: Bounds,
        limit: u32,
    ) -> Result<Vec<JobId>, StoreError>;

    /// Prunes a part of those of the jobs that have ended. Returns how many jobs, logs or files
    /// were dropped.
    async fn prune(&self, part: Part, jobs: Vec<JobId>, now: Timestamp) -> Result<u64, StoreError>;

    /// The size of a complete upload, in bytes.
    async fn upload(&self, sha256: &ContentHash) -> Result<Option<u64>, StoreError>;

    /// The bytes of a complete upload from `offset` on, as many as are stored in one piece. `None`
    /// behind its end.
    async fn upload_bytes(
        &self,
        sha256: &ContentHash,
        offset: u64,
    ) -> Result<Option<Bytes>, StoreError>;

    /// Adds a worker, or replaces its registration.
    async fn register(
        &self,
        worker: &WorkerName,
        registration: Registration,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Starts or stops draining a worker: a draining worker gets no new jobs. Returns since when it
    /// drains; `None` if there is no such worker. Draining lasts until it is stopped.
    async fn drain(
        &self,
        worker: &WorkerName,
        draining: bool,
        now: Timestamp,
    ) -> Result<Option<Drained>, StoreError>;

    /// Changes the rules of a queue, which may be empty.
    async fn change_queue(
        &self,
        name: &QueueName,
        change: QueueChange,
        now: Timestamp,
    ) -> Result<QueueRules, StoreError>;

    /// How many jobs of the same queue wait for a worker ahead of this one.
    async fn ahead(&self, job: &Job) -> Result<u64, StoreError>;

    /// The queues that have rules or open jobs, by name.
    async fn queues(&self) -> Result<Vec<QueueRecord>, StoreError>;

    /// Adds a schedule, unless its name is taken or there are [`MAX_SCHEDULES`].
    async fn add_schedule(&self, schedule: ScheduleRecord) -> Result<Added, StoreError>;

    /// Pauses or resumes a schedule. `None` if there is none of this name.
    async fn change_schedule(
        &self,
        name: &ScheduleName,
        change: ScheduleChange,
        now: Timestamp,
    ) -> Result<Option<ScheduleRecord>, StoreError>;

    /// Removes a schedule; its jobs stay. Returns whether there was one.
    async fn remove_schedule(&self, name: &ScheduleName) -> Result<bool, StoreError>;

    /// Moves a schedule on to its next time and adds the job that is due: all or nothing, and once,
    /// however many masters decided on the same step.
    async fn step_schedule(&self, step: Step) -> Result<Stepped, StoreError>;

    async fn schedule(&self, name: &ScheduleName) -> Result<Option<ScheduleRecord>, StoreError>;

    /// All schedules, by name.
    async fn schedules(&self) -> Result<Vec<ScheduleRecord>, StoreError>;

    /// Schedules that are due at `now` and not paused, ordered by time and name: at most `limit`,
    /// after the one of this time and name.
    async fn due_schedules(
        &self,
        now: Timestamp,
        after: Option<(Timestamp, ScheduleName)>,
        limit: u32,
    ) -> Result<Vec<ScheduleRecord>, StoreError>;

    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError>;

    /// One page of jobs, see [`JobFilter`].
    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<Job>, StoreError>;

    /// A job's attempts, oldest first. Empty, too, if there is no such job.
    async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>, StoreError>;

    /// How much of an attempt's log is stored. `None` if there is no such attempt.
    async fn log_head(&self, id: JobId, attempt: AttemptNo) -> Result<Option<LogHead>, StoreError>;

    /// At most `limit` stored chunks of an attempt's log, in order: those that begin in `range`,
    /// and the one that contains its start.
    async fn log_chunks(
        &self,
        id: JobId,
        attempt: AttemptNo,
        range: Range<u64>,
        order: Order,
        limit: u32,
    ) -> Result<Vec<LogChunk>, StoreError>;

    /// The artifacts of an attempt, by path: all of them, or the one of this path.
    async fn artifacts(
        &self,
        id: JobId,
        attempt: AttemptNo,
        path: Option<&str>,
    ) -> Result<Vec<Artifact>, StoreError>;

    /// The bytes of an artifact from `offset` on, as many as are stored in one piece. `None` behind
    /// its end.
    async fn artifact_bytes(
        &self,
        id: JobId,
        attempt: AttemptNo,
        path: &str,
        offset: u64,
    ) -> Result<Option<Bytes>, StoreError>;

    /// What an attempt's command did to files, as its worker reported at the end.
    async fn changes(&self, id: JobId, attempt: AttemptNo) -> Result<Option<Changes>, StoreError>;

    /// All workers that ever registered, by name.
    async fn workers(&self) -> Result<Vec<WorkerRecord>, StoreError>;

    /// Adds a token. Only the token's hash is stored.
    async fn add_token(&self, grant: TokenGrant, now: Timestamp)
    -> Result<TokenRecord, StoreError>;

    /// Revokes a token for good. `None` if there is none with this number.
    async fn revoke_token(
        &self,
        id: TokenId,
        now: Timestamp,
    ) -> Result<Option<TokenRecord>, StoreError>;

    /// All tokens, revoked ones included, oldest first.
    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError>;

    /// Adds a webhook. From now on every end that matches it adds a delivery, in the same commit as
    /// the end.
    async fn add_webhook(
        &self,
        grant: WebhookGrant,
        now: Timestamp,
    ) -> Result<WebhookRecord, StoreError>;

    /// Removes a webhook and its deliveries. Returns whether there was one.
    async fn remove_webhook(&self, id: WebhookId) -> Result<bool, StoreError>;

    /// All webhooks, oldest first.
    async fn webhooks(&self) -> Result<Vec<WebhookRecord>, StoreError>;

    /// Pending deliveries that are due: the first `each` of every webhook.
    async fn due_deliveries(
        &self,
        now: Timestamp,
        each: u32,
    ) -> Result<Vec<DueDelivery>, StoreError>;

    /// How many deliveries are pending, counted up to `most`.
    async fn waiting_deliveries(&self, most: u32) -> Result<u64, StoreError>;

    /// Stores the result of one try of a delivery. Of the deliveries that are not pending any more,
    /// the newest [`DELIVERIES_KEPT`] of each webhook are kept.
    async fn note_try(&self, tried: Tried) -> Result<(), StoreError>;

    /// A webhook's deliveries, newest first, at most `limit`.
    async fn deliveries(
        &self,
        webhook: WebhookId,
        limit: u32,
    ) -> Result<Vec<DeliveryRecord>, StoreError>;

    /// Makes a delivery due again at once, as if it were new. `None` if there is none.
    async fn redeliver(
        &self,
        webhook: WebhookId,
        delivery: DeliveryId,
        now: Timestamp,
    ) -> Result<Option<DeliveryRecord>, StoreError>;

    /// Whether the database is usable: it can be read, and written to if a write has failed before;
    /// it is the one that was opened; and it has space for new work.
    async fn check(&self) -> Result<(), StoreError>;

    /// Waits for the next notification of another master on the same database. Never returns where
    /// there is only one master.
    async fn notification(&self) -> Notification {
        std::future::pending().await
    }

    /// Whether this master is the leader among those on the same database, which does the upkeep.
    /// Asking keeps the leadership, which ends with this master.
    async fn leads(&self) -> Result<bool, StoreError> {
        Ok(true)
    }

    /// The time by the database's clock, where several masters share it.
    async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    /// Finishes the queued calls and closes the database.
    async fn close(&self);
}

#[cfg(test)]
mod conformance;
