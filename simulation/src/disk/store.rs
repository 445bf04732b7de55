//! The store's operations. Writes pass through the bad disk, and their effects are recorded.

use std::ops::Range;

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
    domain::{Job, JobEvent, LeasePolicy, NewJob, QueueRules, Refusal, Rules},
    store::{
        Added, Appended, Applied, ArtifactPiece, BatchReply, BatchRequest, Bounds, Claim,
        DeliveryRecord, Drained, DueDelivery, JobFilter, LogAppend, LogChunk, Once, Order, Part,
        PieceStored, QueueRecord, Renewal, Report, ScheduleRecord, Step, Stepped, Store,
        StoreError, Submitted, TokenGrant, TokenRecord, Tried, UploadPiece, UploadStored,
        WebhookGrant, WebhookRecord, WorkerRecord, call_by_call,
    },
};
use orchestra_tests::check::What;

use super::OpenDisk;

#[async_trait]
impl Store for OpenDisk {
    async fn submit(
        &self,
        jobs: Vec<NewJob>,
        once: Option<Once>,
        now: Timestamp,
    ) -> Result<Submitted, StoreError> {
        let store = self.store.clone();
        self.write("submit", async move { store.submit(jobs, once, now).await }).await
    }

    async fn claim(&self, claims: Vec<Claim>, rules: Rules) -> Result<Vec<Vec<Job>>, StoreError> {
        let (store, disk) = (self.store.clone(), self.disk.clone());
        let write = async move {
            let rounds = store.claim(claims, rules).await?;
            for job in rounds.iter().flatten() {
                disk.book(job);
                if let Some(lease) = job.lease() {
                    let attempt = AttemptNo(job.attempts);
                    disk.note_lease(job.id, attempt, rules.now, lease.expires_at);
                }
            }
            Ok(rounds)
        };
        self.write("claim", write).await
    }

    async fn batch(&self, batch: BatchRequest) -> BatchReply {
        self.disk.record.claims_with_ends(batch.reports.len());
        call_by_call(self, batch).await
    }

    async fn apply(
        &self,
        id: JobId,
        event: JobEvent,
        rules: Rules,
    ) -> Result<Option<Applied>, StoreError> {
        self.report(Report { job: id, event, rest: None }, rules).await
    }

    async fn report(&self, report: Report, rules: Rules) -> Result<Option<Applied>, StoreError> {
        let (store, disk) = (self.store.clone(), self.disk.clone());
        let write = async move {
            let (id, event) = (report.job, &report.event);
            let said = match event {
                JobEvent::Ended { proof, outcome, .. } => {
                    Some((proof.clone(), Some(outcome.clone())))
                }
                JobEvent::Started { proof, .. } => Some((proof.clone(), None)),
                _ => None,
            };
            let stale = said.as_ref().is_some_and(|(proof, _)| disk.is_stale(id, proof));
            let rest = report.rest.is_some();
            let applied = store.report(report, rules).await?;
            if let (Some((proof, outcome)), Some(applied)) = (said, &applied) {
                let refused = matches!(applied.result, Err(Refusal::LeaseLost));
                disk.note_write(id, &proof, stale, refused);
                let ended = applied.result.as_ref().is_ok_and(|it| it.attempt_ended.is_some());
                if ended && rest {
                    disk.record.rest_with_end();
                }
                if let (true, Some(outcome), Some(attempt)) = (ended, outcome, proof.attempt) {
                    disk.record.note(What::EndAccepted { job: id, attempt, outcome });
                }
            }
            Ok(applied)
        };
        self.write("event", write).await
    }

    async fn expire(&self, rules: Rules, limit: u32) -> Result<Vec<Applied>, StoreError> {
        let store = self.store.clone();
        self.write("expire", async move { store.expire(rules, limit).await }).await
    }

    async fn renew(
        &self,
        worker: &WorkerName,
        leases: Vec<LeaseRef>,
        policy: LeasePolicy,
        now: Timestamp,
    ) -> Result<Renewal, StoreError> {
        let (store, disk, worker) = (self.store.clone(), self.disk.clone(), worker.clone());
        let write = async move {
            let asked = leases.clone();
            let renewal = store.renew(&worker, leases, policy, now).await?;
            for lease in asked.iter().filter(|lease| !renewal.lost.contains(&lease.job)) {
                let job = store.job(lease.job).await?;
                if let Some(held) = job.as_ref().and_then(Job::lease) {
                    disk.note_lease(lease.job, lease.attempt, now, held.expires_at);
                }
            }
            Ok(renewal)
        };
        self.write("renew", write).await
    }

    async fn append_log(&self, append: LogAppend) -> Result<Appended, StoreError> {
        let (store, disk) = (self.store.clone(), self.disk.clone());
        let write = async move {
            let (job, proof) = (append.job, append.proof.clone());
            let stale = disk.is_stale(job, &proof);
            let appended = store.append_log(append).await?;
            let refused = !matches!(appended, Appended::Stored(_));
            disk.note_write(job, &proof, stale, refused);
            Ok(appended)
        };
        self.write("append", write).await
    }

    async fn append_artifact(&self, piece: ArtifactPiece) -> Result<PieceStored, StoreError> {
        let (store, disk) = (self.store.clone(), self.disk.clone());
        let write = async move {
            let (job, proof) = (piece.job, piece.proof.clone());
            let stale = disk.is_stale(job, &proof);
            let stored = store.append_artifact(piece).await?;
            let refused = !matches!(stored, PieceStored::Stored(_));
            disk.note_write(job, &proof, stale, refused);
            Ok(stored)
        };
        self.write("artifact", write).await
    }

    async fn append_upload(&self, piece: UploadPiece) -> Result<UploadStored, StoreError> {
        let store = self.store.clone();
        self.write("upload", async move { store.append_upload(piece).await }).await
    }

    /// Never fails by weather, because it is called too rarely.
    async fn forget_uploads(&self, now: Timestamp) -> Result<usize, StoreError> {
        self.store.forget_uploads(now).await
    }

    async fn prunable(
        &self,
        part: Part,
        bounds: Bounds,
        limit: u32,
    ) -> Result<Vec<JobId>, StoreError> {
        self.store.prunable(part, bounds, limit).await
    }

    async fn prune(&self, part: Part, jobs: Vec<JobId>, now: Timestamp) -> Result<u64, StoreError> {
        self.store.prune(part, jobs, now).await
    }

    async fn upload(&self, sha256: &ContentHash) -> Result<Option<u64>, StoreError> {
        self.read().await;
        self.store.upload(sha256).await
    }

    async fn upload_bytes(
        &self,
        sha256: &ContentHash,
        offset: u64,
    ) -> Result<Option<Bytes>, StoreError> {
        self.read().await;
        self.store.upload_bytes(sha256, offset).await
    }

    async fn register(
        &self,
        worker: &WorkerName,
        registration: Registration,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (store, worker) = (self.store.clone(), worker.clone());
        let write = async move { store.register(&worker, registration, now).await };
        self.write("register", write).await
    }

    async fn drain(
        &self,
        worker: &WorkerName,
        draining: bool,
        now: Timestamp,
    ) -> Result<Option<Drained>, StoreError> {
        let (store, worker) = (self.store.clone(), worker.clone());
        self.write("drain", async move { store.drain(&worker, draining, now).await }).await
    }

    async fn change_queue(
        &self,
        name: &QueueName,
        change: QueueChange,
        now: Timestamp,
    ) -> Result<QueueRules, StoreError> {
        let (store, name) = (self.store.clone(), name.clone());
        self.write("queue", async move { store.change_queue(&name, change, now).await }).await
    }

    async fn ahead(&self, job: &Job) -> Result<u64, StoreError> {
        self.read().await;
        self.store.ahead(job).await
    }

    async fn queues(&self) -> Result<Vec<QueueRecord>, StoreError> {
        self.read().await;
        self.store.queues().await
    }

    async fn add_schedule(&self, schedule: ScheduleRecord) -> Result<Added, StoreError> {
        let store = self.store.clone();
        self.write("schedule", async move { store.add_schedule(schedule).await }).await
    }

    async fn change_schedule(
        &self,
        name: &ScheduleName,
        change: ScheduleChange,
        now: Timestamp,
    ) -> Result<Option<ScheduleRecord>, StoreError> {
        let (store, name) = (self.store.clone(), name.clone());
        let write = async move { store.change_schedule(&name, change, now).await };
        self.write("schedule", write).await
    }

    async fn remove_schedule(&self, name: &ScheduleName) -> Result<bool, StoreError> {
        let (store, name) = (self.store.clone(), name.clone());
        self.write("schedule", async move { store.remove_schedule(&name).await }).await
    }

    async fn step_schedule(&self, step: Step) -> Result<Stepped, StoreError> {
        let store = self.store.clone();
        self.write("step", async move { store.step_schedule(step).await }).await
    }

    async fn schedule(&self, name: &ScheduleName) -> Result<Option<ScheduleRecord>, StoreError> {
        self.read().await;
        self.store.schedule(name).await
    }

    async fn schedules(&self) -> Result<Vec<ScheduleRecord>, StoreError> {
        self.read().await;
        self.store.schedules().await
    }

    async fn due_schedules(
        &self,
        now: Timestamp,
        after: Option<(Timestamp, ScheduleName)>,
        limit: u32,
    ) -> Result<Vec<ScheduleRecord>, StoreError> {
        self.read().await;
        self.store.due_schedules(now, after, limit).await
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        self.read().await;
        self.store.job(id).await
    }

    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<Job>, StoreError> {
        self.read().await;
        self.store.jobs(filter).await
    }

    async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>, StoreError> {
        self.read().await;
        self.store.attempts(id).await
    }

    async fn log_head(&self, id: JobId, attempt: AttemptNo) -> Result<Option<LogHead>, StoreError> {
        self.read().await;
        self.store.log_head(id, attempt).await
    }

    async fn log_chunks(
        &self,
        id: JobId,
        attempt: AttemptNo,
        range: Range<u64>,
        order: Order,
        limit: u32,
    ) -> Result<Vec<LogChunk>, StoreError> {
        self.read().await;
        self.store.log_chunks(id, attempt, range, order, limit).await
    }

    async fn artifacts(
        &self,
        id: JobId,
        attempt: AttemptNo,
        path: Option<&str>,
    ) -> Result<Vec<Artifact>, StoreError> {
        self.read().await;
        self.store.artifacts(id, attempt, path).await
    }

    async fn artifact_bytes(
        &self,
        id: JobId,
        attempt: AttemptNo,
        path: &str,
        offset: u64,
    ) -> Result<Option<Bytes>, StoreError> {
        self.read().await;
        self.store.artifact_bytes(id, attempt, path, offset).await
    }

    async fn changes(&self, id: JobId, attempt: AttemptNo) -> Result<Option<Changes>, StoreError> {
        self.read().await;
        self.store.changes(id, attempt).await
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>, StoreError> {
        self.read().await;
        self.store.workers().await
    }

    async fn add_token(
        &self,
        grant: TokenGrant,
        now: Timestamp,
    ) -> Result<TokenRecord, StoreError> {
        self.store.add_token(grant, now).await
    }

    async fn revoke_token(
        &self,
        id: TokenId,
        now: Timestamp,
    ) -> Result<Option<TokenRecord>, StoreError> {
        self.store.revoke_token(id, now).await
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        self.store.tokens().await
    }

    async fn add_webhook(
        &self,
        grant: WebhookGrant,
        now: Timestamp,
    ) -> Result<WebhookRecord, StoreError> {
        self.store.add_webhook(grant, now).await
    }

    async fn remove_webhook(&self, id: WebhookId) -> Result<bool, StoreError> {
        self.store.remove_webhook(id).await
    }

    async fn webhooks(&self) -> Result<Vec<WebhookRecord>, StoreError> {
        self.store.webhooks().await
    }

    async fn due_deliveries(
        &self,
        now: Timestamp,
        each: u32,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        self.store.due_deliveries(now, each).await
    }

    async fn waiting_deliveries(&self, most: u32) -> Result<u64, StoreError> {
        self.store.waiting_deliveries(most).await
    }

    async fn note_try(&self, tried: Tried) -> Result<(), StoreError> {
        self.store.note_try(tried).await
    }

    async fn deliveries(
        &self,
        webhook: WebhookId,
        limit: u32,
    ) -> Result<Vec<DeliveryRecord>, StoreError> {
        self.store.deliveries(webhook, limit).await
    }

    async fn redeliver(
        &self,
        webhook: WebhookId,
        delivery: DeliveryId,
        now: Timestamp,
    ) -> Result<Option<DeliveryRecord>, StoreError> {
        self.store.redeliver(webhook, delivery, now).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.store.check().await
    }

    async fn close(&self) {
        self.store.close().await;
    }
}
