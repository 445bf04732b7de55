//! The master's database on a bad disk: slow, away for a moment, and sometimes
//! silent about a commit that it has made.
//!
//! Writes go one after the other, as through the real writer, and are carried out
//! even when their caller has gone meanwhile. A crash ends those that wait; what was
//! committed stays.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use orchestra_contracts::{
    Attempt, AttemptNo, ContentHash, DeliveryId, JobId, LeaseToken, QueueChange, QueueName,
    ScheduleChange, ScheduleName, TokenId, WebhookId, WorkerName,
    files::{Artifact, Changes},
    worker::{LeaseRef, LogHead, Registration},
};
use orchestra_master::{
    domain::{Job, JobEvent, LeasePolicy, NewJob, Proof, QueueRules, Refusal, Rules},
    store::{
        Added, Appended, Applied, ArtifactPiece, Bounds, Claim, DeliveryRecord, Done, Drained,
        DueDelivery, JobFilter, LogAppend, LogChunk, MemoryStore, Once, Order, Part, PieceStored,
        QueueRecord, Renewal, Report, Round, ScheduleRecord, Step, Stepped, Store, StoreError,
        Submitted, TokenGrant, TokenRecord, Tried, UploadPiece, UploadStored, WebhookGrant,
        WebhookRecord, WorkerRecord, call_by_call,
    },
};
use orchestra_tests::check::What;
use tokio::{sync::oneshot, task::JoinSet, time::sleep};

use crate::{chance::Chance, record::Record};

/// How bad the disk is, in so many of a thousand writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskWeather {
    /// Seconds instead of a few milliseconds.
    pub stall: u32,
    pub longest_stall: Duration,
    /// Refused, and nothing was written.
    pub refuse: u32,
    /// Written, and the answer is an error.
    pub deny: u32,
}

/// What outlives the master's process.
#[derive(Debug)]
pub struct Disk {
    store: MemoryStore,
    weather: Mutex<DiskWeather>,
    chance: Chance,
    record: Arc<Record>,
    /// The newest attempt of each job that was handed out, and its token: the
    /// harness's own book, by which it tells a late write.
    newest: Mutex<BTreeMap<JobId, (u32, LeaseToken)>>,
}

impl Disk {
    pub fn new(chance: Chance, record: Arc<Record>) -> Arc<Self> {
        Arc::new(Self {
            store: MemoryStore::default(),
            weather: Mutex::default(),
            chance,
            record,
            newest: Mutex::default(),
        })
    }

    pub fn set_weather(&self, weather: DiskWeather) {
        *lock(&self.weather) = weather;
    }

    /// The store as a master opens it.
    pub fn open(self: &Arc<Self>) -> Arc<OpenDisk> {
        let store = Arc::new(self.store.reopened());
        let turn = Arc::new(tokio::sync::Mutex::new(()));
        Arc::new(OpenDisk { disk: self.clone(), store, turn, writes: Mutex::default() })
    }

    fn book(&self, job: &Job) {
        if let Some(lease) = job.lease() {
            let newest = (job.attempts, lease.token.clone());
            lock(&self.newest).insert(job.id, newest);
        }
    }

    /// Notes until when the lease lasts, in the harness's time.
    fn note_lease(&self, job: JobId, attempt: AttemptNo, now: Timestamp, expires: Timestamp) {
        let left = Duration::try_from(expires.duration_since(now)).unwrap_or_default();
        let until = self.record.now() + left;
        self.record.note(What::LeaseUntil { job, attempt, until });
    }

    fn is_stale(&self, job: JobId, proof: &Proof) -> bool {
        let newest = lock(&self.newest);
        newest.get(&job).is_some_and(|(attempt, token)| {
            *token != proof.token || proof.attempt.is_some_and(|of| of.0 != *attempt)
        })
    }

    fn note_write(&self, job: JobId, proof: &Proof, stale: bool, refused: bool) {
        let Some(attempt) = proof.attempt.filter(|_| stale) else { return };
        self.record.note(What::StaleWrite { job, attempt, refused });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The store in the hands of one master's process.
#[derive(Debug)]
pub struct OpenDisk {
    disk: Arc<Disk>,
    store: Arc<MemoryStore>,
    /// Who writes. Waiting callers get it in order.
    turn: Arc<tokio::sync::Mutex<()>>,
    writes: Mutex<JoinSet<()>>,
}

impl OpenDisk {
    /// What waits is not written any more.
    pub fn crash(&self) {
        *lock(&self.writes) = JoinSet::new();
    }

    async fn write<T: Send + 'static>(
        &self,
        what: &'static str,
        write: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let (disk, turn) = (self.disk.clone(), self.turn.clone());
        let write = async move {
            let _turn = turn.lock().await;
            // As the writer does: nobody waits for it, so it is not begun.
            if answer.is_closed() {
                return;
            }
            let weather = *lock(&disk.weather);
            let stall = disk.chance.permille(weather.stall);
            let longest = u64::try_from(weather.longest_stall.as_millis()).unwrap_or(u64::MAX);
            if stall {
                disk.record.line(format_args!("disk: stalls in {what}"));
                sleep(disk.chance.millis(0, longest.max(1))).await;
            }
            sleep(Duration::from_micros(disk.chance.number(100, 3_000))).await;
            if disk.chance.permille(weather.refuse) {
                disk.record.line(format_args!("disk: refuses {what}"));
                let _ = answer.send(Err(away()));
                return;
            }
            let result = write.await;
            // A crash may come here: committed and not answered.
            sleep(Duration::from_micros(disk.chance.number(100, 3_000))).await;
            let denied = disk.chance.permille(weather.deny);
            if denied {
                disk.record.line(format_args!("disk: denies {what}"));
            }
            let _ = answer.send(if denied { Err(away()) } else { result });
        };
        self.begin(write);
        answered.await.map_err(|_| away())?
    }

    fn begin(&self, write: impl Future<Output = ()> + Send + 'static) {
        let mut writes = lock(&self.writes);
        while writes.try_join_next().is_some() {}
        writes.spawn(write);
    }

    async fn read(&self) {
        sleep(Duration::from_micros(self.disk.chance.number(50, 1_000))).await;
    }
}

fn away() -> StoreError {
    StoreError::Unavailable { reason: "disk I/O error".to_owned(), hint: "look at its disk" }
}

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

    async fn round(&self, round: Round) -> Done {
        self.disk.record.claims_with_ends(round.reports.len());
        call_by_call(self, round).await
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

    /// Not by the weather: it is made too seldom for that.
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
