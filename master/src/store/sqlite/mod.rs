//! Jobs in one SQLite file, embedded in the master.
//!
//! ```text
//! callers --verbs--> bounded channel --> Writer: one connection, one transaction for all that wait
//! callers --reads--> pool of read-only connections (WAL: readers and the writer never wait for each other)
//! ```
//! Everything that changes a job goes through [`Ledger`](ledger::Ledger) and so
//! through the machine of the domain.
//!
//! A statement takes all its rows from one JSON parameter: what costs time here
//! is the statement, not the row. `jsonb_each` and not `json_each`, because that
//! would write each row out as text again for every column that is read from it.

mod append;
mod apply;
mod artifacts;
mod batch;
mod claim;
mod insert;
mod ledger;
mod lines;
mod list;
mod lock;
mod once;
mod open;
mod outbox;
mod queues;
mod release;
mod renew;
mod room;
mod schedules;
mod set_aside;
mod tokens;
mod uploads;
mod webhooks;
mod workers;
mod writer;

use std::{ops::Range, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use orchestra_contracts::{
    Attempt, AttemptNo, ContentHash, DeliveryId, JobId, QueueChange, QueueName, ScheduleChange,
    ScheduleName, Size, TokenId, WebhookId, WorkerName,
    files::{Artifact, Changes},
    worker::{LeaseRef, LogHead, Registration},
};
use sqlx::SqlitePool;
use tokio::time::timeout;

use self::{
    apply::{Apply, Expire},
    claim::ClaimRound,
    insert::Insert,
    lock::DatabaseFile,
    outbox::Redeliver,
    queues::{ChangeQueue, Drain},
    renew::Renew,
    room::Room,
    schedules::{AddSchedule, ChangeSchedule, RemoveSchedule},
    tokens::{AddToken, RevokeToken},
    uploads::ForgetUploads,
    webhooks::{AddWebhook, RemoveWebhook},
    workers::Register,
    writer::{Probe, WriterHandle},
};
use super::{
    Added, Appended, Applied, ArtifactPiece, Claim, DeliveryRecord, Drained, DueDelivery,
    JobFilter, LogAppend, LogChunk, Once, Order, PieceStored, QueueRecord, Renewal, ScheduleRecord,
    Step, Stepped, Store, StoreError, Submitted, TokenGrant, TokenRecord, Tried, UploadPiece,
    UploadStored, WebhookGrant, WebhookRecord, WorkerRecord,
    rows::{ArtifactRow, AttemptRow, ChunkRow, HeadRow, JobRow, PieceRow, TokenRow, changes},
    sql,
};
use crate::domain::{Job, JobEvent, LeasePolicy, NewJob, QueueRules, Rules};

/// At the end, so long for reads that are under way.
const READERS: Duration = Duration::from_secs(5);

/// The embedded database.
#[derive(Debug)]
pub struct SqliteStore {
    writer: WriterHandle,
    reads: SqlitePool,
    file: DatabaseFile,
    room: Arc<Room>,
}

impl SqliteStore {
    /// Opens the file, after creating it and its folder where they do not exist.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] when it is held by another master, damaged, of a
    /// newer version, or cannot be written.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(path, Size(0)).await
    }

    /// The same; takes no new work while less than `min_free` is free on its disk.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_with(path: impl AsRef<Path>, min_free: Size) -> Result<Self, StoreError> {
        open::open(path.as_ref(), min_free).await
    }

    /// What may be read: a file that took the place of ours may not.
    fn reads(&self) -> Result<&SqlitePool, StoreError> {
        self.file.check()?;
        Ok(&self.reads)
    }

    /// How many transactions were committed: far fewer than calls, under load.
    pub fn commits(&self) -> u64 {
        self.writer.commits()
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn submit(
        &self,
        jobs: Vec<NewJob>,
        once: Option<Once>,
        now: Timestamp,
    ) -> Result<Submitted, StoreError> {
        self.writer.ask(Insert { jobs, once, now }).await
    }

    async fn claim(&self, claims: Vec<Claim>, rules: Rules) -> Result<Vec<Vec<Job>>, StoreError> {
        self.writer.ask(ClaimRound { claims, rules, closed: false }).await
    }

    async fn apply(
        &self,
        id: JobId,
        event: JobEvent,
        rules: Rules,
    ) -> Result<Option<Applied>, StoreError> {
        self.writer.ask(Apply { id, event, rules }).await
    }

    async fn expire(&self, rules: Rules, limit: u32) -> Result<Vec<Applied>, StoreError> {
        self.writer.ask(Expire { rules, limit }).await
    }

    async fn renew(
        &self,
        worker: &WorkerName,
        leases: Vec<LeaseRef>,
        policy: LeasePolicy,
        now: Timestamp,
    ) -> Result<Renewal, StoreError> {
        self.writer.ask(Renew { worker: worker.clone(), leases, policy, now }).await
    }

    async fn append_log(&self, append: LogAppend) -> Result<Appended, StoreError> {
        self.writer.ask(append).await
    }

    async fn append_artifact(&self, piece: ArtifactPiece) -> Result<PieceStored, StoreError> {
        self.writer.ask(piece).await
    }

    async fn append_upload(&self, piece: UploadPiece) -> Result<UploadStored, StoreError> {
        self.writer.ask(piece).await
    }

    async fn forget_uploads(&self, now: Timestamp) -> Result<usize, StoreError> {
        self.writer.ask(ForgetUploads { now }).await
    }

    async fn upload(&self, sha256: &ContentHash) -> Result<Option<u64>, StoreError> {
        uploads::bytes(self.reads()?, sha256).await
    }

    async fn upload_bytes(
        &self,
        sha256: &ContentHash,
        offset: u64,
    ) -> Result<Option<Bytes>, StoreError> {
        uploads::content(self.reads()?, sha256, offset).await
    }

    async fn register(
        &self,
        worker: &WorkerName,
        registration: Registration,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.writer.ask(Register { worker: worker.clone(), registration, now }).await
    }

    async fn drain(
        &self,
        worker: &WorkerName,
        draining: bool,
        now: Timestamp,
    ) -> Result<Option<Drained>, StoreError> {
        self.writer.ask(Drain { worker: worker.clone(), draining, now }).await
    }

    async fn change_queue(
        &self,
        name: &QueueName,
        change: QueueChange,
        now: Timestamp,
    ) -> Result<QueueRules, StoreError> {
        self.writer.ask(ChangeQueue { name: name.clone(), change, now }).await
    }

    async fn ahead(&self, job: &Job) -> Result<u64, StoreError> {
        queues::ahead(self.reads()?, job).await
    }

    async fn queues(&self) -> Result<Vec<QueueRecord>, StoreError> {
        queues::all(self.reads()?).await
    }

    async fn add_schedule(&self, schedule: ScheduleRecord) -> Result<Added, StoreError> {
        self.writer.ask(AddSchedule(schedule)).await
    }

    async fn change_schedule(
        &self,
        name: &ScheduleName,
        change: ScheduleChange,
        now: Timestamp,
    ) -> Result<Option<ScheduleRecord>, StoreError> {
        self.writer.ask(ChangeSchedule { name: name.clone(), change, now }).await
    }

    async fn remove_schedule(&self, name: &ScheduleName) -> Result<bool, StoreError> {
        self.writer.ask(RemoveSchedule(name.clone())).await
    }

    async fn step_schedule(&self, step: Step) -> Result<Stepped, StoreError> {
        self.writer.ask(step).await
    }

    async fn schedule(&self, name: &ScheduleName) -> Result<Option<ScheduleRecord>, StoreError> {
        schedules::one(self.reads()?, name).await
    }

    async fn schedules(&self) -> Result<Vec<ScheduleRecord>, StoreError> {
        schedules::all(self.reads()?).await
    }

    async fn due_schedules(
        &self,
        now: Timestamp,
        after: Option<(Timestamp, ScheduleName)>,
        limit: u32,
    ) -> Result<Vec<ScheduleRecord>, StoreError> {
        schedules::due(self.reads()?, now, after, limit).await
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        let row: Option<JobRow> =
            sqlx::query_as(sql::JOB).bind(id.0).fetch_optional(self.reads()?).await?;
        row.map(Job::try_from).transpose()
    }

    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<Job>, StoreError> {
        let rows: Vec<JobRow> =
            list::query(filter).build_query_as().fetch_all(self.reads()?).await?;
        rows.into_iter().map(Job::try_from).collect()
    }

    async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>, StoreError> {
        let rows: Vec<AttemptRow> =
            sqlx::query_as(sql::ATTEMPTS).bind(id.0).fetch_all(self.reads()?).await?;
        rows.into_iter().map(|row| row.attempt(id)).collect()
    }

    async fn log_head(&self, id: JobId, attempt: AttemptNo) -> Result<Option<LogHead>, StoreError> {
        let row: Option<HeadRow> = sqlx::query_as(sql::LOG_HEAD)
            .bind(id.0)
            .bind(i64::from(attempt.0))
            .fetch_optional(self.reads()?)
            .await?;
        Ok(row.map(LogHead::from))
    }

    async fn log_chunks(
        &self,
        id: JobId,
        attempt: AttemptNo,
        range: Range<u64>,
        order: Order,
        limit: u32,
    ) -> Result<Vec<LogChunk>, StoreError> {
        let statement = match order {
            Order::Ascending => sql::LOG_CHUNKS,
            Order::Descending => sql::LOG_CHUNKS_BACKWARDS,
        };
        let rows: Vec<ChunkRow> = sqlx::query_as(statement)
            .bind(id.0)
            .bind(i64::from(attempt.0))
            .bind(i64::try_from(range.start).unwrap_or(i64::MAX))
            .bind(i64::try_from(range.end).unwrap_or(i64::MAX))
            .bind(i64::from(limit))
            .fetch_all(self.reads()?)
            .await?;
        Ok(rows.into_iter().map(LogChunk::from).collect())
    }

    async fn artifacts(
        &self,
        id: JobId,
        attempt: AttemptNo,
        path: Option<&str>,
    ) -> Result<Vec<Artifact>, StoreError> {
        let rows: Vec<ArtifactRow> = sqlx::query_as(sql::ARTIFACTS)
            .bind(id.0)
            .bind(i64::from(attempt.0))
            .bind(path)
            .fetch_all(self.reads()?)
            .await?;
        Ok(rows.into_iter().map(Artifact::from).collect())
    }

    async fn artifact_bytes(
        &self,
        id: JobId,
        attempt: AttemptNo,
        path: &str,
        offset: u64,
    ) -> Result<Option<Bytes>, StoreError> {
        let row: Option<PieceRow> = sqlx::query_as(sql::ARTIFACT_PIECE)
            .bind(id.0)
            .bind(i64::from(attempt.0))
            .bind(path)
            .bind(i64::try_from(offset).unwrap_or(i64::MAX))
            .fetch_optional(self.reads()?)
            .await?;
        Ok(row.and_then(|row| row.from(offset)))
    }

    async fn changes(&self, id: JobId, attempt: AttemptNo) -> Result<Option<Changes>, StoreError> {
        let text: Option<Option<String>> = sqlx::query_scalar(sql::CHANGES)
            .bind(id.0)
            .bind(i64::from(attempt.0))
            .fetch_optional(self.reads()?)
            .await?;
        changes(id, text.flatten().as_deref())
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>, StoreError> {
        workers::all(self.reads()?).await
    }

    async fn add_token(
        &self,
        grant: TokenGrant,
        now: Timestamp,
    ) -> Result<TokenRecord, StoreError> {
        self.writer.ask(AddToken { grant, now }).await
    }

    async fn revoke_token(
        &self,
        id: TokenId,
        now: Timestamp,
    ) -> Result<Option<TokenRecord>, StoreError> {
        self.writer.ask(RevokeToken { id, now }).await
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        let rows: Vec<TokenRow> = sqlx::query_as(sql::TOKENS).fetch_all(self.reads()?).await?;
        rows.into_iter().map(TokenRecord::try_from).collect()
    }

    async fn add_webhook(
        &self,
        grant: WebhookGrant,
        now: Timestamp,
    ) -> Result<WebhookRecord, StoreError> {
        self.writer.ask(AddWebhook { grant, now }).await
    }

    async fn remove_webhook(&self, id: WebhookId) -> Result<bool, StoreError> {
        self.writer.ask(RemoveWebhook { id }).await
    }

    async fn webhooks(&self) -> Result<Vec<WebhookRecord>, StoreError> {
        webhooks::all(self.reads()?).await
    }

    async fn due_deliveries(
        &self,
        now: Timestamp,
        each: u32,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        outbox::due(self.reads()?, now, each).await
    }

    async fn note_try(&self, tried: Tried) -> Result<(), StoreError> {
        self.writer.ask(tried).await
    }

    async fn deliveries(
        &self,
        webhook: WebhookId,
        limit: u32,
    ) -> Result<Vec<DeliveryRecord>, StoreError> {
        outbox::log(self.reads()?, webhook, limit).await
    }

    async fn redeliver(
        &self,
        webhook: WebhookId,
        delivery: DeliveryId,
        now: Timestamp,
    ) -> Result<Option<DeliveryRecord>, StoreError> {
        self.writer.ask(Redeliver { webhook, delivery, now }).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(self.reads()?).await?;
        if self.writer.has_failed() {
            self.writer.ask(Probe).await?;
        }
        self.room.check()
    }

    async fn close(&self) {
        // The writer closes last, so that its connection can empty the WAL.
        // A reader that does not come back loses nothing; the writer has all that was promised.
        if timeout(READERS, self.reads.close()).await.is_err() {
            tracing::warn!("a reader of the database does not end: it is left");
        }
        self.writer.close().await;
    }
}

#[cfg(test)]
mod tests;
