//! The verbs of the store: a write is a call to the writer, a read is a query on the pool.

use std::{ops::Range, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{future::join_all, join};
use jiff::Timestamp;
use orchestra_contracts::{
    Attempt, AttemptNo, ContentHash, DeliveryId, JobId, QueueChange, QueueName, ScheduleChange,
    ScheduleName, TokenId, WebhookId, WorkerName,
    files::{Artifact, Changes},
    worker::{LeaseRef, LogHead, Registration},
};
use tokio::time::timeout;

use crate::{
    domain::{Job, JobEvent, LeasePolicy, NewJob, QueueRules, Rules},
    store::{
        Added, Appended, Applied, ArtifactPiece, BatchReply, BatchRequest, Bounds, Claim,
        DeliveryRecord, Drained, DueDelivery, JobFilter, LogAppend, LogChunk, Notification, Once,
        Order, Part, PieceStored, QueueRecord, Renewal, Report, ScheduleRecord, Step, Stepped,
        Store, StoreError, Submission, Submitted, TokenGrant, TokenRecord, Tried, UploadPiece,
        UploadStored, WebhookGrant, WebhookRecord, WorkerRecord, batch,
        connection::{Reads, values},
        database::{Database, SqlStore},
        rows::{ArtifactRow, AttemptRow, ChunkRow, HeadRow, JobRow, PieceRow, TokenRow, changes},
        sql,
        verbs::{
            AddSchedule, AddToken, AddWebhook, Apply, ChangeQueue, ChangeSchedule, ClaimBatch,
            Drain, Expire, ForgetUploads, Insert, Probe, Prune, Redeliver, Register,
            RemoveSchedule, RemoveWebhook, Renew, RevokeToken, list::Query, outbox, prune, queues,
            schedules, uploads, webhooks, workers,
        },
        writer::Parcel,
    },
};

/// At the end, so long for reads that are under way.
const READERS: Duration = Duration::from_secs(5);

/// The writer appends before it applies.
fn add_report(
    parcel: &mut Parcel,
    Report { job, event, rest }: Report,
    rules: Rules,
) -> impl Future<Output = Result<Option<Applied>, StoreError>> + use<> {
    let appended = rest.map(|rest| parcel.add(rest));
    let applied = parcel.add(Apply { id: job, event, rules });
    async {
        match appended {
            None => applied.await,
            Some(appended) => {
                let (appended, applied) = join!(appended, applied);
                batch::answer(appended, applied)
            }
        }
    }
}

#[async_trait]
impl<D: Database> Store for SqlStore<D> {
    async fn submit(
        &self,
        jobs: Vec<NewJob>,
        once: Option<Once>,
        now: Timestamp,
    ) -> Result<Submitted, StoreError> {
        self.writer.ask(Insert { jobs, once, now }).await
    }

    async fn claim(&self, claims: Vec<Claim>, rules: Rules) -> Result<Vec<Vec<Job>>, StoreError> {
        self.writer.ask(ClaimBatch { claims, rules, closed: false }).await
    }

    async fn batch(&self, batch: BatchRequest) -> BatchReply {
        let BatchRequest { submissions, reports, claims, rules } = batch;
        let mut parcel = Parcel::default();
        let inserts = submissions
            .into_iter()
            .map(|Submission { jobs, once, now }| parcel.add(Insert { jobs, once, now }));
        let inserts: Vec<_> = inserts.collect();
        let reports = reports.into_iter().map(|report| add_report(&mut parcel, report, rules));
        let reports: Vec<_> = reports.collect();
        let claims = parcel.add(ClaimBatch { claims, rules, closed: false });
        self.writer.send(parcel).await;
        let (submitted, reported, claimed) = join!(join_all(inserts), join_all(reports), claims);
        BatchReply { submitted, reported, claimed }
    }

    async fn apply(
        &self,
        id: JobId,
        event: JobEvent,
        rules: Rules,
    ) -> Result<Option<Applied>, StoreError> {
        self.writer.ask(Apply { id, event, rules }).await
    }

    async fn report(&self, report: Report, rules: Rules) -> Result<Option<Applied>, StoreError> {
        let mut parcel = Parcel::default();
        let answer = add_report(&mut parcel, report, rules);
        self.writer.send(parcel).await;
        answer.await
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

    async fn prunable(
        &self,
        part: Part,
        bounds: Bounds,
        limit: u32,
    ) -> Result<Vec<JobId>, StoreError> {
        prune::candidates(self.reads()?, part, bounds, limit).await
    }

    async fn prune(&self, part: Part, jobs: Vec<JobId>, now: Timestamp) -> Result<u64, StoreError> {
        self.writer.ask(Prune { part, jobs, now }).await
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
        match self.database.counts() {
            Some(open) => queues::with_counts(self.reads()?, open).await,
            None => queues::all(self.reads()?).await,
        }
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
        let row: Option<JobRow> = self.reads()?.one(sql::JOB, values![id.0]).await?;
        row.map(Job::try_from).transpose()
    }

    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<Job>, StoreError> {
        let reads = self.reads()?;
        let Query { text, values, .. } = Query::of(filter, reads.is_sqlite());
        let rows: Vec<JobRow> = reads.all_of(text, values).await?;
        rows.into_iter().map(Job::try_from).collect()
    }

    async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>, StoreError> {
        let rows: Vec<AttemptRow> = self.reads()?.all(sql::ATTEMPTS, values![id.0]).await?;
        rows.into_iter().map(|row| row.attempt(id)).collect()
    }

    async fn log_head(&self, id: JobId, attempt: AttemptNo) -> Result<Option<LogHead>, StoreError> {
        let row: Option<HeadRow> =
            self.reads()?.one(sql::LOG_HEAD, values![id.0, i64::from(attempt.0)]).await?;
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
        let rows: Vec<ChunkRow> = self
            .reads()?
            .all(
                statement,
                values![
                    id.0,
                    i64::from(attempt.0),
                    i64::try_from(range.start).unwrap_or(i64::MAX),
                    i64::try_from(range.end).unwrap_or(i64::MAX),
                    i64::from(limit)
                ],
            )
            .await?;
        rows.into_iter().map(|row| row.chunk(id)).collect()
    }

    async fn artifacts(
        &self,
        id: JobId,
        attempt: AttemptNo,
        path: Option<&str>,
    ) -> Result<Vec<Artifact>, StoreError> {
        let rows: Vec<ArtifactRow> =
            self.reads()?.all(sql::ARTIFACTS, values![id.0, i64::from(attempt.0), path]).await?;
        Ok(rows.into_iter().map(Artifact::from).collect())
    }

    async fn artifact_bytes(
        &self,
        id: JobId,
        attempt: AttemptNo,
        path: &str,
        offset: u64,
    ) -> Result<Option<Bytes>, StoreError> {
        let row: Option<PieceRow> = self
            .reads()?
            .one(
                sql::ARTIFACT_PIECE,
                values![
                    id.0,
                    i64::from(attempt.0),
                    path,
                    i64::try_from(offset).unwrap_or(i64::MAX)
                ],
            )
            .await?;
        Ok(row.and_then(|row| row.from(offset)))
    }

    async fn changes(&self, id: JobId, attempt: AttemptNo) -> Result<Option<Changes>, StoreError> {
        let text: Option<Option<String>> =
            self.reads()?.scalar(sql::CHANGES, values![id.0, i64::from(attempt.0)]).await?;
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
        let rows: Vec<TokenRow> = self.reads()?.all(sql::TOKENS, values![]).await?;
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

    async fn waiting_deliveries(&self, most: u32) -> Result<u64, StoreError> {
        outbox::waiting(self.reads()?, most).await
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
        self.reads()?.one::<(i64,)>(sql::IS_THERE, values![]).await?;
        if self.writer.has_failed() {
            self.writer.ask(Probe).await?;
        }
        self.database.check()
    }

    async fn notification(&self) -> Notification {
        self.database.notification().await
    }

    async fn leads(&self) -> Result<bool, StoreError> {
        self.database.leads().await
    }

    async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        match self.reads()? {
            Reads::Sqlite(_) => Ok(None),
            reads @ Reads::Postgres(_) => {
                let millis: Option<i64> = reads.scalar(sql::TIME, values![]).await?;
                Ok(millis.and_then(|millis| Timestamp::from_millisecond(millis).ok()))
            }
        }
    }

    async fn close(&self) {
        self.database.close().await;
        // The writer closes last, so that its connection can empty the WAL.
        // A reader that does not come back loses nothing; the writer has all that was promised.
        if timeout(READERS, self.reads.close()).await.is_err() {
            tracing::warn!("a reader of the database does not end: it is left");
        }
        self.writer.close().await;
    }
}
