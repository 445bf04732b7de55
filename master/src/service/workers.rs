//! Registers workers and handles their heartbeats.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use orchestra_contracts::{
    JobStatus, Span, WorkerName, check_labels, limits,
    worker::{Claimed, Heartbeat, HeartbeatReply, Registration, Stats, Welcome, Worker},
};

use super::{MAX_WAIT, Service, ServiceError, signed};
use crate::store::{JobFilter, WorkerRecord};

/// The number of heartbeats in the time of one lease: two may be lost.
const HEARTBEATS: u32 = 4;
/// The shortest wait of a worker that comes with another master's count of orders.
const OF_ANOTHER: Duration = Duration::from_secs(1);
/// More than any worker has slots.
const MAX_LEASES: u32 = 4096;
const MAX_SLOTS: u32 = 4096;
/// The limit on each text of a registration, in bytes.
const MAX_TEXT: usize = 256;
/// The limits on kinds of engine calls, and on the length of their names.
const MAX_CALLS: usize = 64;
const MAX_CALL: usize = 64;
const MAX_CHECKS: usize = 32;

/// The last heartbeat of each worker. It is not stored: after a restart, the master has it again with
/// the next heartbeat.
#[derive(Debug, Default)]
pub(super) struct LastHeartbeats(Mutex<HashMap<WorkerName, LastHeartbeat>>);

#[derive(Clone, Debug, Default)]
struct LastHeartbeat {
    /// Why it cannot start jobs.
    unwell: Option<String>,
    stats: Option<Box<Stats>>,
}

impl LastHeartbeats {
    fn note(&self, worker: &WorkerName, mut last: LastHeartbeat) {
        last.unwell.iter_mut().for_each(shorten);
        last.stats.iter_mut().for_each(|stats| bound(stats));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(worker.clone(), last);
    }

    fn of(&self, worker: &WorkerName) -> LastHeartbeat {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(worker).cloned().unwrap_or_default()
    }
}

/// Bounds the statistics to what our worker sends. A heartbeat is not refused because of them.
fn bound(stats: &mut Stats) {
    stats.engine.retain(|call, _| call.len() <= MAX_CALL);
    while stats.engine.len() > MAX_CALLS {
        stats.engine.pop_last();
    }
    stats.images.truncate(limits::OFFER_IMAGES);
    stats.checks.truncate(MAX_CHECKS);
    let names = stats.images.iter_mut().map(|image| &mut image.name);
    let checks = stats.checks.iter_mut().flat_map(|check| {
        [Some(&mut check.name), Some(&mut check.detail), check.fix.as_mut()].into_iter().flatten()
    });
    names.chain(checks).for_each(shorten);
}

fn shorten(text: &mut String) {
    text.truncate(text.floor_char_boundary(MAX_TEXT));
}

impl Service {
    /// Registers a worker. After a restart it is told which jobs it holds.
    pub async fn register(
        &self,
        worker: WorkerName,
        registration: Registration,
    ) -> Result<Welcome, ServiceError> {
        check(&registration)?;
        let now = self.clock.now();
        let registering = self.store.register(&worker, registration.clone(), now);
        self.metrics.stored("register", registering).await?;
        if self.offers.note(&worker, registration, now) {
            tracing::info!(%worker, "a worker registered");
            self.dispatcher.look_again();
        } else {
            tracing::debug!(%worker, "a worker registered as before");
        }
        let (lease, held) = (self.settings.lease, self.held_by(worker).await?);
        Ok(Welcome { lease, heartbeat: Span(lease.0 / HEARTBEATS), held })
    }

    async fn held_by(&self, worker: WorkerName) -> Result<Vec<Claimed>, ServiceError> {
        let filter = JobFilter {
            statuses: vec![JobStatus::Assigned, JobStatus::Running],
            worker: Some(worker),
            limit: MAX_LEASES,
            ..JobFilter::default()
        };
        let jobs = self.store.jobs(&filter).await?;
        Ok(jobs.iter().filter_map(|job| self.claimed(job)).collect())
    }

    /// Renews a worker's leases. The reply has the leases that are lost and the jobs to stop.
    pub async fn heartbeat(
        &self,
        worker: WorkerName,
        mut heartbeat: Heartbeat,
    ) -> Result<HeartbeatReply, ServiceError> {
        if heartbeat.leases.len() > MAX_LEASES as usize {
            let detail = format!("has more than {MAX_LEASES} entries");
            return Err(ServiceError::field("/leases", detail));
        }
        let (leases, now) = (self.settings.leases(), self.clock.now());
        let held = std::mem::take(&mut heartbeat.leases);
        let renewing = self.store.renew(&worker, held, leases, now);
        let renewed = self.metrics.stored("renew", renewing).await;
        let renewal = renewed.inspect_err(|_| self.renewals_fail())?;
        self.stale.heartbeat(renewal.lost.len());
        // Of those that are in the list: strangers take no room.
        if !renewal.unknown {
            let Heartbeat { unwell, stats, .. } = heartbeat;
            self.heartbeats.note(&worker, LastHeartbeat { unwell, stats });
        }
        Ok(HeartbeatReply {
            lease: leases.base,
            longer: renewal.longer.into_iter().collect(),
            lost: renewal.lost,
            cancel: renewal.stop,
            register: renewal.unknown,
        })
    }

    /// Waits for orders: returns the count of orders when it differs from `known`, or when the wait
    /// is over.
    pub async fn orders(&self, worker: &WorkerName, known: Option<u64>, wait: Span) -> u64 {
        let of_another = known.filter(|known| self.order_signals.is_of_another(worker, *known));
        if of_another.is_some() {
            // Workers that come to another master with each request would else never wait.
            let count = self.order_signals.count(worker);
            tokio::select! {
                _ = self.order_signals.other_than(worker, count) => {}
                () = tokio::time::sleep(OF_ANOTHER.min(wait.0)) => {}
                () = self.shutdown.cancelled() => {}
            }
        } else if let Some(known) = known {
            tokio::select! {
                biased;
                count = self.order_signals.other_than(worker, known) => return count,
                () = tokio::time::sleep(wait.min(MAX_WAIT).0) => {}
                () = self.shutdown.cancelled() => {}
            }
        }
        self.order_signals.count(worker)
    }

    /// Every worker that ever registered. Those seen within one lease are online.
    pub async fn workers(&self) -> Result<Vec<Worker>, ServiceError> {
        let online_since = self.clock.now() - signed(self.settings.lease);
        let show = |record: WorkerRecord| {
            let online = record.seen_at >= online_since;
            let last =
                if online { self.heartbeats.of(&record.name) } else { LastHeartbeat::default() };
            Worker {
                online,
                unwell: last.unwell,
                stats: last.stats,
                name: record.name,
                registration: record.registration,
                running: record.running,
                draining_since: record.draining_since,
                registered_at: record.registered_at,
                seen_at: record.seen_at,
            }
        };
        Ok(self.store.workers().await?.into_iter().map(show).collect())
    }
}

fn check(registration: &Registration) -> Result<(), ServiceError> {
    if !(1..=MAX_SLOTS).contains(&registration.slots) {
        return Err(ServiceError::field("/slots", format!("is not 1 to {MAX_SLOTS}")));
    }
    if registration.queues.is_empty() {
        return Err(ServiceError::field("/queues", "is empty; name the queues to take jobs from"));
    }
    let errors = check_labels(&registration.labels, "/labels");
    if !errors.is_empty() {
        return Err(ServiceError::Invalid(errors));
    }
    if let Some(offer) = &registration.offer {
        let mut errors = offer.validate();
        if !errors.is_empty() {
            for error in &mut errors {
                error.pointer.insert_str(0, "/offer");
            }
            return Err(ServiceError::Invalid(errors));
        }
    }
    let Registration { version, host, engine, .. } = registration;
    for (pointer, text) in [("/version", version), ("/host", host), ("/engine", engine)] {
        if text.len() > MAX_TEXT {
            return Err(ServiceError::field(pointer, format!("has more than {MAX_TEXT} bytes")));
        }
    }
    Ok(())
}
