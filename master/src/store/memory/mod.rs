//! The store in memory: the same guarantees as the databases', except that its content ends with
//! the process. It is for the simulation, where virtual time stands still while a real database
//! would work. Nothing here waits.
//!
//! `tables` holds what is kept and changes jobs, through the machine alone;
//! `submit` adds them, `release` lets those go on that waited for others, `claim` hands them out,
//! `list` finds them; `queues` is what operators decided, `schedules` what begins by itself,
//! `webhooks` whom ends are told, `artifacts` the files that attempts leave, `uploads` those that
//! jobs are to have, `retention` what is not kept any more.

mod artifacts;
mod claim;
mod list;
mod queues;
mod release;
mod retention;
mod schedules;
mod submit;
mod tables;
mod uploads;
mod webhooks;

use std::{
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use orchestra_contracts::{
    Attempt, AttemptNo, ContentHash, DeliveryId, JobId, QueueChange, QueueName, ScheduleChange,
    ScheduleName, TokenId, WebhookId, WorkerName,
    files::{Artifact, Changes},
    worker::{LeaseRef, LogHead, Registration},
};

use self::tables::Tables;
use super::{
    Added, Appended, Applied, ArtifactPiece, Bounds, Claim, DeliveryRecord, Drained, DueDelivery,
    JobFilter, LogAppend, LogChunk, Once, Order, Part, PieceStored, QueueRecord, Renewal,
    ScheduleRecord, Step, Stepped, Store, StoreError, Submitted, TokenGrant, TokenRecord, Tried,
    UploadPiece, UploadStored, WebhookGrant, WebhookRecord, WorkerRecord,
};
use crate::domain::{Job, JobEvent, LeasePolicy, NewJob, QueueRules, Rules};

/// A store that lasts as long as one of its handles.
#[derive(Debug, Default)]
pub struct MemoryStore {
    tables: Arc<Mutex<Tables>>,
    closed: AtomicBool,
}

impl MemoryStore {
    /// Another handle on what is stored, as a master has it after its restart.
    #[must_use]
    pub fn reopened(&self) -> Self {
        Self { tables: self.tables.clone(), closed: AtomicBool::new(false) }
    }

    fn tables(&self) -> Result<MutexGuard<'_, Tables>, StoreError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable {
                reason: "it is closed".to_owned(),
                hint: "the master is shutting down; try again when it is back",
            });
        }
        Ok(self.tables.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn submit(
        &self,
        jobs: Vec<NewJob>,
        once: Option<Once>,
        now: Timestamp,
    ) -> Result<Submitted, StoreError> {
        Ok(self.tables()?.submit(&jobs, once, now))
    }

    async fn claim(&self, claims: Vec<Claim>, rules: Rules) -> Result<Vec<Vec<Job>>, StoreError> {
        let mut tables = self.tables()?;
        Ok(claims.iter().map(|claim| tables.claim(claim, &rules)).collect())
    }

    async fn apply(
        &self,
        id: JobId,
        event: JobEvent,
        rules: Rules,
    ) -> Result<Option<Applied>, StoreError> {
        Ok(self.tables()?.apply(id, event, &rules))
    }

    async fn expire(&self, rules: Rules, limit: u32) -> Result<Vec<Applied>, StoreError> {
        Ok(self.tables()?.expire(&rules, limit as usize))
    }

    async fn renew(
        &self,
        worker: &WorkerName,
        leases: Vec<LeaseRef>,
        policy: LeasePolicy,
        now: Timestamp,
    ) -> Result<Renewal, StoreError> {
        Ok(self.tables()?.renew(worker, &leases, policy, now))
    }

    async fn append_log(&self, append: LogAppend) -> Result<Appended, StoreError> {
        Ok(self.tables()?.append(&append))
    }

    async fn append_artifact(&self, piece: ArtifactPiece) -> Result<PieceStored, StoreError> {
        Ok(self.tables()?.append_artifact(&piece))
    }

    async fn append_upload(&self, piece: UploadPiece) -> Result<UploadStored, StoreError> {
        Ok(self.tables()?.append_upload(&piece))
    }

    async fn forget_uploads(&self, now: Timestamp) -> Result<usize, StoreError> {
        Ok(self.tables()?.forget_uploads(now))
    }

    async fn prunable(
        &self,
        part: Part,
        bounds: Bounds,
        limit: u32,
    ) -> Result<Vec<JobId>, StoreError> {
        Ok(self.tables()?.prunable(part, bounds, limit as usize))
    }

    async fn prune(&self, part: Part, jobs: Vec<JobId>, now: Timestamp) -> Result<u64, StoreError> {
        Ok(self.tables()?.prune(part, &jobs, now))
    }

    async fn upload(&self, sha256: &ContentHash) -> Result<Option<u64>, StoreError> {
        Ok(self.tables()?.upload(sha256).map(|content| content.len() as u64))
    }

    async fn upload_bytes(
        &self,
        sha256: &ContentHash,
        offset: u64,
    ) -> Result<Option<Bytes>, StoreError> {
        Ok(self.tables()?.upload_bytes(sha256, offset))
    }

    async fn register(
        &self,
        worker: &WorkerName,
        registration: Registration,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.tables()?.register(worker, registration, now);
        Ok(())
    }

    async fn drain(
        &self,
        worker: &WorkerName,
        draining: bool,
        now: Timestamp,
    ) -> Result<Option<Drained>, StoreError> {
        Ok(self.tables()?.drain(worker, draining, now))
    }

    async fn change_queue(
        &self,
        name: &QueueName,
        change: QueueChange,
        now: Timestamp,
    ) -> Result<QueueRules, StoreError> {
        Ok(self.tables()?.change_queue(name, change, now))
    }

    async fn ahead(&self, job: &Job) -> Result<u64, StoreError> {
        Ok(self.tables()?.ahead(job))
    }

    async fn queues(&self) -> Result<Vec<QueueRecord>, StoreError> {
        Ok(self.tables()?.queues())
    }

    async fn add_schedule(&self, schedule: ScheduleRecord) -> Result<Added, StoreError> {
        Ok(self.tables()?.add_schedule(schedule))
    }

    async fn change_schedule(
        &self,
        name: &ScheduleName,
        change: ScheduleChange,
        now: Timestamp,
    ) -> Result<Option<ScheduleRecord>, StoreError> {
        Ok(self.tables()?.change_schedule(name, change, now))
    }

    async fn remove_schedule(&self, name: &ScheduleName) -> Result<bool, StoreError> {
        Ok(self.tables()?.schedules.remove(name).is_some())
    }

    async fn step_schedule(&self, step: Step) -> Result<Stepped, StoreError> {
        Ok(self.tables()?.step_schedule(&step))
    }

    async fn schedule(&self, name: &ScheduleName) -> Result<Option<ScheduleRecord>, StoreError> {
        Ok(self.tables()?.schedules.get(name).cloned())
    }

    async fn schedules(&self) -> Result<Vec<ScheduleRecord>, StoreError> {
        Ok(self.tables()?.schedules.values().cloned().collect())
    }

    async fn due_schedules(
        &self,
        now: Timestamp,
        after: Option<(Timestamp, ScheduleName)>,
        limit: u32,
    ) -> Result<Vec<ScheduleRecord>, StoreError> {
        Ok(self.tables()?.due_schedules(now, after.as_ref(), limit as usize))
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        Ok(self.tables()?.job(id).cloned())
    }

    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<Job>, StoreError> {
        Ok(self.tables()?.list(filter))
    }

    async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>, StoreError> {
        Ok(self.tables()?.attempts(id))
    }

    async fn log_head(&self, id: JobId, attempt: AttemptNo) -> Result<Option<LogHead>, StoreError> {
        Ok(self.tables()?.log_head(id, attempt))
    }

    async fn log_chunks(
        &self,
        id: JobId,
        attempt: AttemptNo,
        range: Range<u64>,
        order: Order,
        limit: u32,
    ) -> Result<Vec<LogChunk>, StoreError> {
        Ok(self.tables()?.log_chunks(id, attempt, &range, order, limit as usize))
    }

    async fn artifacts(
        &self,
        id: JobId,
        attempt: AttemptNo,
        path: Option<&str>,
    ) -> Result<Vec<Artifact>, StoreError> {
        Ok(self.tables()?.artifacts(id, attempt, path))
    }

    async fn artifact_bytes(
        &self,
        id: JobId,
        attempt: AttemptNo,
        path: &str,
        offset: u64,
    ) -> Result<Option<Bytes>, StoreError> {
        Ok(self.tables()?.artifact_bytes(id, attempt, path, offset))
    }

    async fn changes(&self, id: JobId, attempt: AttemptNo) -> Result<Option<Changes>, StoreError> {
        Ok(self.tables()?.changes(id, attempt))
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>, StoreError> {
        Ok(self.tables()?.workers())
    }

    async fn add_token(
        &self,
        grant: TokenGrant,
        now: Timestamp,
    ) -> Result<TokenRecord, StoreError> {
        Ok(self.tables()?.add_token(grant, now))
    }

    async fn revoke_token(
        &self,
        id: TokenId,
        now: Timestamp,
    ) -> Result<Option<TokenRecord>, StoreError> {
        Ok(self.tables()?.revoke_token(id, now))
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        Ok(self.tables()?.tokens.clone())
    }

    async fn add_webhook(
        &self,
        grant: WebhookGrant,
        now: Timestamp,
    ) -> Result<WebhookRecord, StoreError> {
        Ok(self.tables()?.webhooks.add(grant, now))
    }

    async fn remove_webhook(&self, id: WebhookId) -> Result<bool, StoreError> {
        Ok(self.tables()?.webhooks.remove(id))
    }

    async fn webhooks(&self) -> Result<Vec<WebhookRecord>, StoreError> {
        Ok(self.tables()?.webhooks.all())
    }

    async fn due_deliveries(
        &self,
        now: Timestamp,
        each: u32,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        Ok(self.tables()?.webhooks.due(now, each as usize))
    }

    async fn waiting_deliveries(&self, most: u32) -> Result<u64, StoreError> {
        Ok(self.tables()?.webhooks.waiting().min(u64::from(most)))
    }

    async fn note_try(&self, tried: Tried) -> Result<(), StoreError> {
        self.tables()?.webhooks.note_try(tried);
        Ok(())
    }

    async fn deliveries(
        &self,
        webhook: WebhookId,
        limit: u32,
    ) -> Result<Vec<DeliveryRecord>, StoreError> {
        Ok(self.tables()?.webhooks.log(webhook, limit as usize))
    }

    async fn redeliver(
        &self,
        webhook: WebhookId,
        delivery: DeliveryId,
        now: Timestamp,
    ) -> Result<Option<DeliveryRecord>, StoreError> {
        Ok(self.tables()?.webhooks.redeliver(webhook, delivery, now))
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.tables().map(drop)
    }

    async fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}
