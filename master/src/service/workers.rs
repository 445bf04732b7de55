//! Workers say who they are and that they are alive.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use orchestra_contracts::{
    JobStatus, Span, WorkerName, check_labels,
    worker::{Claimed, Heartbeat, HeartbeatReply, Registration, Welcome, Worker},
};

use super::{MAX_WAIT, Service, ServiceError, signed};
use crate::store::{JobFilter, WorkerRecord};

/// A worker sends so many heartbeats in the time of one lease, so that two may be lost.
const HEARTBEATS: u32 = 4;
/// So long a worker waits at least that comes from another master's orders.
const OF_ANOTHER: Duration = Duration::from_secs(1);
/// More than any worker has slots.
const MAX_LEASES: u32 = 4096;
const MAX_SLOTS: u32 = 4096;
/// For each text of a registration.
const MAX_TEXT: usize = 256;

/// What ails workers, by their last heartbeats. It is not stored: a master that was
/// started again hears it with the next ones.
#[derive(Debug, Default)]
pub(super) struct Unwell(Mutex<HashMap<WorkerName, String>>);

impl Unwell {
    fn note(&self, worker: &WorkerName, reason: Option<String>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match reason {
            Some(mut reason) => {
                reason.truncate(reason.floor_char_boundary(MAX_TEXT));
                all.insert(worker.clone(), reason);
            }
            None => drop(all.remove(worker)),
        }
    }

    fn of(&self, worker: &WorkerName) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(worker).cloned()
    }
}

impl Service {
    /// Welcomes a worker. One that was started again is told what it held.
    pub async fn register(
        &self,
        worker: WorkerName,
        registration: Registration,
    ) -> Result<Welcome, ServiceError> {
        check(&registration)?;
        let now = self.clock.now();
        self.store.register(&worker, registration.clone(), now).await?;
        if self.offers.note(&worker, registration, now) {
            tracing::info!(%worker, "a worker registered");
            self.desk.look_again();
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

    /// Renews a worker's leases; the answer brings what it has to know.
    pub async fn heartbeat(
        &self,
        worker: WorkerName,
        heartbeat: Heartbeat,
    ) -> Result<HeartbeatReply, ServiceError> {
        if heartbeat.leases.len() > MAX_LEASES as usize {
            let detail = format!("has more than {MAX_LEASES} entries");
            return Err(ServiceError::field("/leases", detail));
        }
        let (leases, now) = (self.settings.leases(), self.clock.now());
        let renewed = self.store.renew(&worker, heartbeat.leases, leases, now).await;
        let renewal = renewed.inspect_err(|_| self.renewals_fail())?;
        self.stale.heartbeat(renewal.lost.len());
        // Of those that are in the list: strangers take no room.
        if !renewal.unknown {
            self.unwell.note(&worker, heartbeat.unwell);
        }
        Ok(HeartbeatReply {
            lease: leases.base,
            longer: renewal.longer.into_iter().collect(),
            lost: renewal.lost,
            cancel: renewal.stop,
            register: renewal.unknown,
        })
    }

    /// How often the worker was to be told something: when that is no longer what
    /// it knows, or when the wait is over.
    pub async fn orders(&self, worker: &WorkerName, known: Option<u64>, wait: Span) -> u64 {
        let of_another = known.filter(|known| self.bells.is_of_another(worker, *known));
        if of_another.is_some() {
            // Workers that come to another master with each request would else never wait.
            let rings = self.bells.rings(worker);
            tokio::select! {
                _ = self.bells.other_than(worker, rings) => {}
                () = tokio::time::sleep(OF_ANOTHER.min(wait.0)) => {}
                () = self.shutdown.cancelled() => {}
            }
        } else if let Some(known) = known {
            tokio::select! {
                biased;
                count = self.bells.other_than(worker, known) => return count,
                () = tokio::time::sleep(wait.min(MAX_WAIT).0) => {}
                () = self.shutdown.cancelled() => {}
            }
        }
        self.bells.rings(worker)
    }

    /// Every worker that ever registered; those heard of within a lease are online.
    pub async fn workers(&self) -> Result<Vec<Worker>, ServiceError> {
        let online_since = self.clock.now() - signed(self.settings.lease);
        let show = |record: WorkerRecord| Worker {
            online: record.seen_at >= online_since,
            unwell: self.unwell.of(&record.name).filter(|_| record.seen_at >= online_since),
            name: record.name,
            registration: record.registration,
            running: record.running,
            draining_since: record.draining_since,
            registered_at: record.registered_at,
            seen_at: record.seen_at,
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
