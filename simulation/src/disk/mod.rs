//! The master's database on a bad disk: slow, unavailable for a moment, or failing to report a
//! commit that it made.
//!
//! Writes run one after another, as in the real writer, even when their caller is gone by then. A
//! crash drops the waiting writes and keeps what was committed.

mod store;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use orchestra_contracts::{AttemptNo, JobId, LeaseToken};
use orchestra_master::{
    domain::{Job, Proof},
    store::{MemoryStore, StoreError},
};
use orchestra_tests::check::What;
use tokio::{sync::oneshot, task::JoinSet, time::sleep};

use crate::{chance::Chance, record::Record};

/// How bad the disk is; rates per thousand writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskWeather {
    /// Writes that take seconds instead of a few milliseconds.
    pub stall: u32,
    pub longest_stall: Duration,
    /// Refused writes, of which nothing is stored.
    pub refuse: u32,
    /// Writes that are stored but answered with an error.
    pub deny: u32,
}

/// What outlives the master's process.
#[derive(Debug)]
pub struct Disk {
    store: MemoryStore,
    weather: Mutex<DiskWeather>,
    chance: Chance,
    record: Arc<Record>,
    /// The newest attempt of each claimed job, and its lease token. The harness uses this to recognise
    /// a stale write.
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

    /// Opens the store for a new master process.
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

    /// Records how long the lease lasts, in the harness's time.
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

/// The store as opened by one master process.
#[derive(Debug)]
pub struct OpenDisk {
    disk: Arc<Disk>,
    store: Arc<MemoryStore>,
    /// Lock for writing. Waiting callers get it in order.
    turn: Arc<tokio::sync::Mutex<()>>,
    writes: Mutex<JoinSet<()>>,
}

impl OpenDisk {
    /// Drops the waiting writes.
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
            // Like the real writer: nobody waits for the answer, so the write is not started.
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
            // A crash can hit here: committed but not answered.
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
