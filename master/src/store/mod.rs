//! Where jobs, attempts, logs and workers are kept. Only this room writes SQL.
//!
//! [`Store`] is what the rest of the master sees. Every write is durable when
//! its call returns. Adapters batch: calls that wait at the same time share one
//! transaction.

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

/// The database behind a master. Lookups answer `None` for what does not exist.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Adds jobs, all or none, and gives them ids in their order; adds none when there was a
    /// submission with the same key within [`KEYS_KEPT`]. With no jobs it only asks for that
    /// one: the key is not kept. Jobs wait for those that they are to begin after, and those of
    /// an array for their turn, until the ends of others set them free.
    async fn submit(
        &self,
        jobs: Vec<NewJob>,
        once: Option<Once>,
        now: Timestamp,
    ) -> Result<Submitted, StoreError>;

    /// The same without a key, with which all that is submitted is new.
    async fn insert(&self, specs: Vec<JobSpec>, now: Timestamp) -> Result<Vec<Job>, StoreError> {
        let jobs = specs.into_iter().map(NewJob::from).collect();
        match self.submit(jobs, None, now).await? {
            Submitted::New(jobs) => Ok(jobs),
            _ => Ok(Vec::new()),
        }
    }

    /// Hands out the oldest claimable jobs that each claim's worker takes: for each claim in
    /// turn up to as many as it has tokens, as far as the rules of their queues allow, and none
    /// to a worker that is being drained.
    async fn claim(&self, claims: Vec<Claim>, rules: Rules) -> Result<Vec<Vec<Job>>, StoreError>;

    /// See [`BatchRequest`]; where the adapter can, in one commit.
    async fn batch(&self, batch: BatchRequest) -> BatchReply {
        batch::call_by_call(self, batch).await
    }

    /// Applies one event to one job through the machine, `None` when there is no such job.
    async fn apply(
        &self,
        id: JobId,
        event: JobEvent,
        rules: Rules,
    ) -> Result<Option<Applied>, StoreError>;

    /// The same with what comes along with it, see [`Report`]; where the adapter can, in one commit.
    async fn report(&self, report: Report, rules: Rules) -> Result<Option<Applied>, StoreError> {
        let Report { job, event, rest } = report;
        let Some(rest) = rest else { return self.apply(job, event, rules).await };
        let appended = self.append_log(rest).await;
        batch::answer(appended, self.apply(job, event, rules).await)
    }

    /// Applies `LeaseExpired` to at most `limit` held jobs whose lease ran out
    /// before `rules.now`; answers those that moved.
    async fn expire(&self, rules: Rules, limit: u32) -> Result<Vec<Applied>, StoreError>;

    /// Renews leases of one worker and marks it as seen. Those that it no longer
    /// holds come back as `lost`, those that somebody wants ended as `stop`, those
    /// that last longer than the base as `longer`.
    async fn renew(
        &self,
        worker: &WorkerName,
        leases: Vec<LeaseRef>,
        policy: LeasePolicy,
        now: Timestamp,
    ) -> Result<Renewal, StoreError>;

    /// Appends whole frames to the newest attempt's log, fenced by the proof.
    async fn append_log(&self, append: LogAppend) -> Result<Appended, StoreError>;

    /// Appends to a file that the newest attempt leaves, fenced by the proof. It is there for
    /// nobody until the attempt ends with it; those that it does not end with are dropped then.
    async fn append_artifact(&self, piece: ArtifactPiece) -> Result<PieceStored, StoreError>;

    /// Appends to a file that jobs may have when it is there whole.
    async fn append_upload(&self, piece: UploadPiece) -> Result<UploadStored, StoreError>;

    /// Drops files that no job has and that nobody has brought for [`UPLOADS_KEPT`], some at a
    /// time; answers how many.
    async fn forget_uploads(&self, now: Timestamp) -> Result<usize, StoreError>;

    /// The jobs of which this part goes next, those that ended first before others: at most so many, and
    /// no more than one transaction should drop.
    async fn prunable(
        &self,
        part: Part,
        bounds: Bounds,
        limit: u32,
    ) -> Result<Vec<JobId>, StoreError>;

    /// Drops a part of those of these jobs that have ended; answers how many jobs, logs or files there were.
    async fn prune(&self, part: Part, jobs: Vec<JobId>, now: Timestamp) -> Result<u64, StoreError>;

    /// How many bytes an upload has that is there whole.
    async fn upload(&self, sha256: &ContentHash) -> Result<Option<u64>, StoreError>;

    /// Bytes of one that is there whole from `offset` on, as many as are kept together; `None`
    /// where there are none.
    async fn upload_bytes(
        &self,
        sha256: &ContentHash,
        offset: u64,
    ) -> Result<Option<Bytes>, StoreError>;

    /// Adds a worker or replaces what it said of itself.
    async fn register(
        &self,
        worker: &WorkerName,
        registration: Registration,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Has a worker be handed nothing new, or lifts that; answers since when it is so, and
    /// `None` when there is no such worker. It holds until it is lifted.
    async fn drain(
        &self,
        worker: &WorkerName,
        draining: bool,
        now: Timestamp,
    ) -> Result<Option<Drained>, StoreError>;

    /// Changes the rules of a queue, which need not have jobs.
    async fn change_queue(
        &self,
        name: &QueueName,
        change: QueueChange,
        now: Timestamp,
    ) -> Result<QueueRules, StoreError>;

    /// How many jobs of its queue wait for a worker and go before this one.
    async fn ahead(&self, job: &Job) -> Result<u64, StoreError>;

    /// The queues that have rules, or jobs that have not ended, by name.
    async fn queues(&self) -> Result<Vec<QueueRecord>, StoreError>;

    /// Adds a schedule, unless there is one of its name or there are [`MAX_SCHEDULES`].
    async fn add_schedule(&self, schedule: ScheduleRecord) -> Result<Added, StoreError>;

    /// Pauses or resumes a schedule; `None` when there is none of this name.
    async fn change_schedule(
        &self,
        name: &ScheduleName,
        change: ScheduleChange,
        now: Timestamp,
    ) -> Result<Option<ScheduleRecord>, StoreError>;

    /// Removes a schedule; its jobs stay. Answers whether there was one.
    async fn remove_schedule(&self, name: &ScheduleName) -> Result<bool, StoreError>;

    /// Takes a schedule from one time to the next, with the job that begins: all or nothing,
    /// and once, however many decided on the same.
    async fn step_schedule(&self, step: Step) -> Result<Stepped, StoreError>;

    async fn schedule(&self, name: &ScheduleName) -> Result<Option<ScheduleRecord>, StoreError>;

    /// All schedules, by name.
    async fn schedules(&self) -> Result<Vec<ScheduleRecord>, StoreError>;

    /// Schedules that are not paused and whose next time is not after `now`, by that time and
    /// name, at most `limit` of them, from behind the one of this time and name.
    async fn due_schedules(
        &self,
        now: Timestamp,
        after: Option<(Timestamp, ScheduleName)>,
        limit: u32,
    ) -> Result<Vec<ScheduleRecord>, StoreError>;

    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError>;

    /// One page of jobs, see [`JobFilter`].
    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<Job>, StoreError>;

    /// A job's attempts, oldest first; empty also when there is no such job.
    async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>, StoreError>;

    /// How much of an attempt's log is stored; `None` when there is no such attempt.
    async fn log_head(&self, id: JobId, attempt: AttemptNo) -> Result<Option<LogHead>, StoreError>;

    /// Stored chunks of an attempt's log that begin in `range` or contain its
    /// start, in order, at most `limit` of them.
    async fn log_chunks(
        &self,
        id: JobId,
        attempt: AttemptNo,
        range: Range<u64>,
        order: Order,
        limit: u32,
    ) -> Result<Vec<LogChunk>, StoreError>;

    /// The files that an attempt ended with, by path; all of them, or that of one path.
    async fn artifacts(
        &self,
        id: JobId,
        attempt: AttemptNo,
        path: Option<&str>,
    ) -> Result<Vec<Artifact>, StoreError>;

    /// Bytes of a stored file from `offset` on, as many as are kept together; `None` where
    /// there are none.
    async fn artifact_bytes(
        &self,
        id: JobId,
        attempt: AttemptNo,
        path: &str,
        offset: u64,
    ) -> Result<Option<Bytes>, StoreError>;

    /// What an attempt's worker said at its end that its command did to files.
    async fn changes(&self, id: JobId, attempt: AttemptNo) -> Result<Option<Changes>, StoreError>;

    /// All workers that ever registered, by name.
    async fn workers(&self) -> Result<Vec<WorkerRecord>, StoreError>;

    /// Adds a token; of the token itself no more than its hash is ever here.
    async fn add_token(&self, grant: TokenGrant, now: Timestamp)
    -> Result<TokenRecord, StoreError>;

    /// Takes a token back for good; `None` when there is none with this number.
    async fn revoke_token(
        &self,
        id: TokenId,
        now: Timestamp,
    ) -> Result<Option<TokenRecord>, StoreError>;

    /// All tokens that ever were, oldest first.
    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError>;

    /// Adds a webhook. From now on every end that it wants to be told of becomes a delivery, in
    /// the same commit as the end.
    async fn add_webhook(
        &self,
        grant: WebhookGrant,
        now: Timestamp,
    ) -> Result<WebhookRecord, StoreError>;

    /// Removes a webhook and all deliveries to it; answers whether there was one.
    async fn remove_webhook(&self, id: WebhookId) -> Result<bool, StoreError>;

    /// All webhooks, oldest first.
    async fn webhooks(&self) -> Result<Vec<WebhookRecord>, StoreError>;

    /// Pending deliveries whose time has come, of each webhook the first `each`.
    async fn due_deliveries(
        &self,
        now: Timestamp,
        each: u32,
    ) -> Result<Vec<DueDelivery>, StoreError>;

    /// How many deliveries are pending, counted up to `most`.
    async fn waiting_deliveries(&self, most: u32) -> Result<u64, StoreError>;

    /// Notes what became of a try. Of each webhook, the newest [`DELIVERIES_KEPT`] that are not
    /// pending any more are kept.
    async fn note_try(&self, tried: Tried) -> Result<(), StoreError>;

    /// A webhook's deliveries, newest first, at most so many.
    async fn deliveries(
        &self,
        webhook: WebhookId,
        limit: u32,
    ) -> Result<Vec<DeliveryRecord>, StoreError>;

    /// Has a delivery be tried again at once, as if it were new; `None` when there is none.
    async fn redeliver(
        &self,
        webhook: WebhookId,
        delivery: DeliveryId,
        now: Timestamp,
    ) -> Result<Option<DeliveryRecord>, StoreError>;

    /// Whether the database can be used: read, written to if a write failed
    /// before, still the one that was opened, and with room for new work.
    async fn check(&self) -> Result<(), StoreError>;

    /// What other masters on the same database have done; returns when there is some, and never
    /// where there are no others.
    async fn notification(&self) -> Notification {
        std::future::pending().await
    }

    /// Whether this master is the one, of those on the same database, that does what has to be
    /// done from time to time. Whoever asks keeps it up: it lasts until this master is gone.
    async fn leads(&self) -> Result<bool, StoreError> {
        Ok(true)
    }

    /// What the database's clock shows, where several masters go by it.
    async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    /// Finishes what is queued and closes the database.
    async fn close(&self);
}

#[cfg(test)]
mod conformance;
