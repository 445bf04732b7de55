//! The store's operations, each subject to the plan of faults.

use std::{ops::Range, sync::atomic::Ordering};

use super::{FaultyStore, Plan};
use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use orchestra_contracts::{
    Attempt, AttemptNo, ContentHash, DeliveryId, JobId, QueueChange, QueueName, ScheduleChange,
    ScheduleName, TokenId, WebhookId, WorkerName,
    files::{Artifact, Changes},
    worker::{LeaseRef, LogHead, Registration},
};
use orchestra_master::{
    domain::{Job, JobEvent, LeasePolicy, NewJob, QueueRules, Rules},
    store::{
        Added, Appended, Applied, ArtifactPiece, BatchReply, BatchRequest, Bounds, Claim,
        DeliveryRecord, Drained, DueDelivery, JobFilter, LogAppend, LogChunk, Once, Order, Part,
        PieceStored, QueueRecord, Renewal, Report, ScheduleRecord, Step, Stepped, Store,
        StoreError, Submitted, TokenGrant, TokenRecord, Tried, UploadPiece, UploadStored,
        WebhookGrant, WebhookRecord, WorkerRecord, call_by_call,
    },
};

#[async_trait]
impl Store for FaultyStore {
    async fn submit(
        &self,
        jobs: Vec<NewJob>,
        once: Option<Once>,
        now: Timestamp,
    ) -> Result<Submitted, StoreError> {
        self.write(self.store.submit(jobs, once, now)).await
    }

    async fn claim(&self, claims: Vec<Claim>, rules: Rules) -> Result<Vec<Vec<Job>>, StoreError> {
        self.write(self.store.claim(claims, rules)).await
    }

    /// Runs the batch as a whole, unless one of its operations may have to fail.
    async fn batch(&self, batch: BatchRequest) -> BatchReply {
        if matches!(*self.plan.lock().unwrap(), Plan::Nothing) {
            let along = batch.submissions.len() + batch.reports.len();
            self.operations.fetch_add(along, Ordering::SeqCst);
            let (mut submitted, mut reported) = (Vec::new(), Vec::new());
            let asking = async {
                let done = self.store.batch(batch).await;
                (submitted, reported) = (done.submitted, done.reported);
                done.claimed
            };
            let claimed = self.write(asking).await;
            return BatchReply { submitted, reported, claimed };
        }
        call_by_call(self, batch).await
    }

    async fn apply(
        &self,
        id: JobId,
        event: JobEvent,
        rules: Rules,
    ) -> Result<Option<Applied>, StoreError> {
        self.write(self.store.apply(id, event, rules)).await
    }

    async fn report(&self, report: Report, rules: Rules) -> Result<Option<Applied>, StoreError> {
        self.write(self.store.report(report, rules)).await
    }

    async fn expire(&self, rules: Rules, limit: u32) -> Result<Vec<Applied>, StoreError> {
        self.write(self.store.expire(rules, limit)).await
    }

    async fn renew(
        &self,
        worker: &WorkerName,
        leases: Vec<LeaseRef>,
        policy: LeasePolicy,
        now: Timestamp,
    ) -> Result<Renewal, StoreError> {
        self.write(self.store.renew(worker, leases, policy, now)).await
    }

    async fn append_log(&self, append: LogAppend) -> Result<Appended, StoreError> {
        self.write(self.store.append_log(append)).await
    }

    async fn append_artifact(&self, piece: ArtifactPiece) -> Result<PieceStored, StoreError> {
        self.write(self.store.append_artifact(piece)).await
    }

    async fn prunable(
        &self,
        part: Part,
        bounds: Bounds,
        limit: u32,
    ) -> Result<Vec<JobId>, StoreError> {
        self.read(self.store.prunable(part, bounds, limit)).await
    }

    async fn prune(&self, part: Part, jobs: Vec<JobId>, now: Timestamp) -> Result<u64, StoreError> {
        self.write(self.store.prune(part, jobs, now)).await
    }

    async fn register(
        &self,
        worker: &WorkerName,
        registration: Registration,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(self.store.register(worker, registration, now)).await
    }

    async fn drain(
        &self,
        worker: &WorkerName,
        draining: bool,
        now: Timestamp,
    ) -> Result<Option<Drained>, StoreError> {
        self.write(self.store.drain(worker, draining, now)).await
    }

    async fn change_queue(
        &self,
        name: &QueueName,
        change: QueueChange,
        now: Timestamp,
    ) -> Result<QueueRules, StoreError> {
        self.write(self.store.change_queue(name, change, now)).await
    }

    async fn ahead(&self, job: &Job) -> Result<u64, StoreError> {
        self.read(self.store.ahead(job)).await
    }

    async fn queues(&self) -> Result<Vec<QueueRecord>, StoreError> {
        self.read(self.store.queues()).await
    }

    async fn add_schedule(&self, schedule: ScheduleRecord) -> Result<Added, StoreError> {
        self.write(self.store.add_schedule(schedule)).await
    }

    async fn change_schedule(
        &self,
        name: &ScheduleName,
        change: ScheduleChange,
        now: Timestamp,
    ) -> Result<Option<ScheduleRecord>, StoreError> {
        self.write(self.store.change_schedule(name, change, now)).await
    }

    async fn remove_schedule(&self, name: &ScheduleName) -> Result<bool, StoreError> {
        self.write(self.store.remove_schedule(name)).await
    }

    async fn step_schedule(&self, step: Step) -> Result<Stepped, StoreError> {
        self.write(self.store.step_schedule(step)).await
    }

    async fn schedule(&self, name: &ScheduleName) -> Result<Option<ScheduleRecord>, StoreError> {
        self.read(self.store.schedule(name)).await
    }

    async fn schedules(&self) -> Result<Vec<ScheduleRecord>, StoreError> {
        self.read(self.store.schedules()).await
    }

    async fn due_schedules(
        &self,
        now: Timestamp,
        after: Option<(Timestamp, ScheduleName)>,
        limit: u32,
    ) -> Result<Vec<ScheduleRecord>, StoreError> {
        self.read(self.store.due_schedules(now, after, limit)).await
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        self.read(self.store.job(id)).await
    }

    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<Job>, StoreError> {
        self.read(self.store.jobs(filter)).await
    }

    async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>, StoreError> {
        self.read(self.store.attempts(id)).await
    }

    async fn log_head(&self, id: JobId, attempt: AttemptNo) -> Result<Option<LogHead>, StoreError> {
        self.read(self.store.log_head(id, attempt)).await
    }

    async fn log_chunks(
        &self,
        id: JobId,
        attempt: AttemptNo,
        range: Range<u64>,
        order: Order,
        limit: u32,
    ) -> Result<Vec<LogChunk>, StoreError> {
        self.log_reads.fetch_add(1, Ordering::SeqCst);
        self.read(self.store.log_chunks(id, attempt, range, order, limit)).await
    }

    async fn artifacts(
        &self,
        id: JobId,
        attempt: AttemptNo,
        path: Option<&str>,
    ) -> Result<Vec<Artifact>, StoreError> {
        self.read(self.store.artifacts(id, attempt, path)).await
    }

    async fn artifact_bytes(
        &self,
        id: JobId,
        attempt: AttemptNo,
        path: &str,
        offset: u64,
    ) -> Result<Option<Bytes>, StoreError> {
        self.read(self.store.artifact_bytes(id, attempt, path, offset)).await
    }

    async fn append_upload(&self, piece: UploadPiece) -> Result<UploadStored, StoreError> {
        self.write(self.store.append_upload(piece)).await
    }

    async fn forget_uploads(&self, now: Timestamp) -> Result<usize, StoreError> {
        self.write(self.store.forget_uploads(now)).await
    }

    async fn upload(&self, sha256: &ContentHash) -> Result<Option<u64>, StoreError> {
        self.read(self.store.upload(sha256)).await
    }

    async fn upload_bytes(
        &self,
        sha256: &ContentHash,
        offset: u64,
    ) -> Result<Option<Bytes>, StoreError> {
        self.read(self.store.upload_bytes(sha256, offset)).await
    }

    async fn changes(&self, id: JobId, attempt: AttemptNo) -> Result<Option<Changes>, StoreError> {
        self.read(self.store.changes(id, attempt)).await
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>, StoreError> {
        self.read(self.store.workers()).await
    }

    async fn add_token(
        &self,
        grant: TokenGrant,
        now: Timestamp,
    ) -> Result<TokenRecord, StoreError> {
        self.write(self.store.add_token(grant, now)).await
    }

    async fn revoke_token(
        &self,
        id: TokenId,
        now: Timestamp,
    ) -> Result<Option<TokenRecord>, StoreError> {
        self.write(self.store.revoke_token(id, now)).await
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        self.read(self.store.tokens()).await
    }

    async fn add_webhook(
        &self,
        grant: WebhookGrant,
        now: Timestamp,
    ) -> Result<WebhookRecord, StoreError> {
        self.write(self.store.add_webhook(grant, now)).await
    }

    async fn remove_webhook(&self, id: WebhookId) -> Result<bool, StoreError> {
        self.write(self.store.remove_webhook(id)).await
    }

    async fn webhooks(&self) -> Result<Vec<WebhookRecord>, StoreError> {
        self.read(self.store.webhooks()).await
    }

    async fn due_deliveries(
        &self,
        now: Timestamp,
        each: u32,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        self.read(self.store.due_deliveries(now, each)).await
    }

    async fn waiting_deliveries(&self, most: u32) -> Result<u64, StoreError> {
        self.read(self.store.waiting_deliveries(most)).await
    }

    async fn note_try(&self, tried: Tried) -> Result<(), StoreError> {
        self.write(self.store.note_try(tried)).await
    }

    async fn deliveries(
        &self,
        webhook: WebhookId,
        limit: u32,
    ) -> Result<Vec<DeliveryRecord>, StoreError> {
        self.read(self.store.deliveries(webhook, limit)).await
    }

    async fn redeliver(
        &self,
        webhook: WebhookId,
        delivery: DeliveryId,
        now: Timestamp,
    ) -> Result<Option<DeliveryRecord>, StoreError> {
        self.write(self.store.redeliver(webhook, delivery, now)).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.read(self.store.check()).await
    }

    async fn close(&self) {
        self.store.close().await;
    }
}
