//! Takes attempts back after a restart: those that the master believes this worker to hold, and
//! whose containers an earlier process left.
//!
//! Only the leases of those are renewed. An attempt of which nothing is left, or which another
//! process of this name runs, is left to its lease.

use std::sync::Arc;

use orchestra_client::Backoff;
use orchestra_contracts::worker::{Claimed, Heartbeat, HeartbeatReply, LeaseRef};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{Worker, deadline};
use crate::{
    control::Control,
    executor::{Left, Remains},
};

/// An attempt, and what is left of it.
struct Found {
    claimed: Claimed,
    remains: Box<dyn Remains>,
}

impl Found {
    fn lease(&self) -> LeaseRef {
        let Claimed { job, lease } = &self.claimed;
        LeaseRef { job: job.id, attempt: lease.attempt, token: lease.token.clone() }
    }
}

impl Worker {
    /// Resumes the attempts that can go on, and removes everything else that earlier processes
    /// left.
    pub(super) async fn take_back(self: &Arc<Self>, held: Vec<Claimed>, runs: &mut JoinSet<()>) {
        let found = self.find(held).await;
        if !found.is_empty() {
            self.carry_on(found, runs).await;
        }
        self.executor.tidy().await;
    }

    async fn find(&self, held: Vec<Claimed>) -> Vec<Found> {
        let mut found = Vec::new();
        if !held.is_empty() {
            self.executor.ready().await;
        }
        for claimed in held {
            let (job, attempt) = (claimed.job.id, claimed.lease.attempt);
            match self.executor.left_of(job, attempt).await {
                Left::Ours(remains) => found.push(Found { claimed, remains }),
                Left::NotOurs => {
                    tracing::info!(%job, %attempt, "held by this worker's name, but not by us: left alone");
                }
                Left::Nothing => {
                    tracing::info!(%job, %attempt, "held before the restart, and nothing is left of it: its lease will run out");
                }
            }
        }
        found
    }

    /// Renews the leases first: only attempts that are still ours may go on.
    async fn carry_on(self: &Arc<Self>, found: Vec<Found>, runs: &mut JoinSet<()>) {
        let leases: Vec<_> = found.iter().map(Found::lease).collect();
        let (sent, reply) = self.renew(leases.clone()).await;
        let until = |found: &Found| deadline(sent, reply.lease_of(found.claimed.job.id).0);
        let attempt = |found: &Found| self.attempt(found.lease(), Control::new(until(found)));
        let attempts: Vec<_> = found.iter().map(attempt).collect();
        self.leases.apply(&leases, &reply, sent);
        for (Found { claimed, remains }, (attempt, hold)) in found.into_iter().zip(attempts) {
            // There may be fewer slots than there were; it goes on all the same.
            let slot = self.slots.clone().try_acquire_owned().ok();
            let worker = self.clone();
            runs.spawn(async move {
                let after = attempt.resume(claimed.job, remains).await;
                drop(hold);
                worker.go_on(after).await;
                drop(slot);
            });
        }
    }

    /// Sends a heartbeat, repeated until the master answers. Returns when it was sent, and the
    /// answer.
    async fn renew(&self, leases: Vec<LeaseRef>) -> (Instant, HeartbeatReply) {
        let heartbeat = Heartbeat { leases, unwell: None, stats: None };
        let mut backoff = Backoff::default();
        loop {
            let sent = Instant::now();
            let answer = self.master.heartbeat(&self.terms.name, &heartbeat).await;
            self.link.note(&answer);
            match answer {
                Ok(reply) => return (sent, reply),
                Err(error) => tracing::debug!("could not renew what was found: {error}"),
            }
            sleep(backoff.next()).await;
        }
    }
}
