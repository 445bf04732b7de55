//! Workers say who they are and that they are alive.

use orchestra_contracts::{
    Span, WorkerName,
    worker::{Heartbeat, HeartbeatReply, Registration, Welcome, Worker},
};

use super::{Service, ServiceError, signed};
use crate::store::WorkerRecord;

/// A worker sends so many heartbeats in the time of one lease, so that two may be lost.
const HEARTBEATS: u32 = 4;
/// More than any worker has slots.
const MAX_LEASES: usize = 4096;
const MAX_SLOTS: u32 = 4096;
/// For each text of a registration.
const MAX_TEXT: usize = 256;

impl Service {
    pub async fn register(
        &self,
        worker: WorkerName,
        registration: Registration,
    ) -> Result<Welcome, ServiceError> {
        check(&registration)?;
        self.store.register(&worker, registration, self.clock.now()).await?;
        tracing::info!(%worker, "a worker registered");
        let lease = self.settings.lease;
        Ok(Welcome { lease, heartbeat: Span(lease.0 / HEARTBEATS) })
    }

    /// Renews a worker's leases; the answer brings what it has to know.
    pub async fn heartbeat(
        &self,
        worker: WorkerName,
        heartbeat: Heartbeat,
    ) -> Result<HeartbeatReply, ServiceError> {
        if heartbeat.leases.len() > MAX_LEASES {
            let detail = format!("has more than {MAX_LEASES} entries");
            return Err(ServiceError::field("/leases", detail));
        }
        let (lease, now) = (self.settings.lease, self.clock.now());
        let renewal = self.store.renew(&worker, heartbeat.leases, lease, now).await?;
        Ok(HeartbeatReply {
            lease,
            lost: renewal.lost,
            cancel: renewal.stop,
            register: renewal.unknown,
        })
    }

    /// Every worker that ever registered; those heard of within a lease are online.
    pub async fn workers(&self) -> Result<Vec<Worker>, ServiceError> {
        let online_since = self.clock.now() - signed(self.settings.lease);
        let show = |record: WorkerRecord| Worker {
            name: record.name,
            online: record.seen_at >= online_since,
            registration: record.registration,
            running: record.running,
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
    let Registration { version, host, engine, .. } = registration;
    for (pointer, text) in [("/version", version), ("/host", host), ("/engine", engine)] {
        if text.len() > MAX_TEXT {
            return Err(ServiceError::field(pointer, format!("has more than {MAX_TEXT} bytes")));
        }
    }
    Ok(())
}
