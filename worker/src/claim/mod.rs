//! The main loop of a worker. It registers, takes back the attempts of an earlier process of its
//! name, claims jobs for its free slots, spawns a run for each, which continues with the job that
//! its report of an end brings, renews all leases with one heartbeat, and at shutdown finishes its
//! jobs or hands them back. It knows no Docker.
//!
//! A lease is counted from before the request that renewed it was sent, and an eighth of it is kept
//! back for killing: see [`deadline`].

mod clocks;
mod heartbeat;
mod leases;
mod registering;
mod take_back;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use orchestra_client::{Backoff, Client};
use orchestra_contracts::{
    WorkerName,
    worker::{Check, ClaimTerms, Claimed, LeaseRef, Offer, Registration},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use self::leases::{LeaseGuard, Leases};
use crate::{
    control::{Control, Stop},
    executor::Executor,
    master::{Link, Master},
    refill::{SlotRefill, new_request_id},
    run::{self, NextJobs},
};

/// The longest wait of a claim; a quiet connection is not trusted for longer.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// After the grace time, the time to kill containers and hand their jobs back.
const RELEASE: Duration = Duration::from_secs(10);
/// The time for a last claim, which prevents that a job is left behind in a lost answer.
const ONCE_MORE: Duration = Duration::from_secs(1);

/// The settings of a worker.
#[derive(Clone, Debug)]
pub struct Terms {
    pub name: WorkerName,
    /// Without the offer, which the executor makes.
    pub registration: Registration,
    /// At shutdown, how long jobs may go on before they are handed back.
    pub grace: Duration,
}

/// One worker, from its registration to its end.
pub struct Worker {
    pub(crate) master: Arc<dyn Master>,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) terms: Terms,
    link: Arc<Link>,
    leases: Arc<Leases>,
    slots: Arc<Semaphore>,
    refill: Arc<SlotRefill>,
    /// The interval of heartbeats, and the longest wait of a claim: a quarter of the lease that the
    /// master has named. It changes with the master's settings.
    pace: watch::Sender<Duration>,
    /// The offer that the master knows.
    told: Mutex<Option<Offer>>,
    /// The last check of this machine's clock.
    clock: Mutex<Option<Check>>,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("terms", &self.terms).finish_non_exhaustive()
    }
}

/// The deadline by which an attempt has to be gone whose lease was requested at `sent`.
fn deadline(sent: Instant, lease: Duration) -> Instant {
    sent + lease - lease / 8
}

impl Worker {
    /// A worker of the master behind this client.
    pub fn of(master: Client, executor: Arc<dyn Executor>, terms: Terms) -> Self {
        Self::new(Arc::new(master), executor, terms)
    }

    pub(crate) fn new(master: Arc<dyn Master>, executor: Arc<dyn Executor>, terms: Terms) -> Self {
        let slots = Arc::new(Semaphore::new(terms.registration.slots as usize));
        let refill = SlotRefill::new(terms.registration.queues.clone(), executor.health());
        let refill = Arc::new(refill);
        let (link, leases, told, clock, pace) = Default::default();
        Self { master, executor, terms, link, leases, slots, refill, pace, told, clock }
    }

    /// Works until `soft` is cancelled and all jobs have ended, or the grace
    /// time has passed, or `hard` is cancelled.
    pub async fn serve(self, soft: CancellationToken, hard: CancellationToken) {
        let Some(welcome) = soft.run_until_cancelled(self.register()).await else { return };
        tracing::info!(
            worker = %self.terms.name, slots = self.terms.registration.slots,
            "registered; waiting for jobs"
        );
        self.pace.send_replace(welcome.heartbeat.0);
        let worker = Arc::new(self);
        tokio::select! {
            biased;
            () = worker.heartbeats() => unreachable!("they never end by themselves"),
            () = worker.work(welcome.held, &soft, &hard) => (),
        }
    }

    async fn work(
        self: &Arc<Self>,
        held: Vec<Claimed>,
        soft: &CancellationToken,
        hard: &CancellationToken,
    ) {
        let mut runs = JoinSet::new();
        soft.run_until_cancelled(self.take_back(held, &mut runs)).await;
        while let Some(slots) = soft.run_until_cancelled(self.free_slots()).await {
            let terms = self.claim_terms(&slots);
            let (sent, claimed) = self.claim(&terms, soft).await;
            self.spawn(claimed, slots, sent, &mut runs);
            while runs.try_join_next().is_some() {}
        }
        self.refill.open(false);
        self.drain(runs, hard).await;
    }

    /// Waits until the engine works and a slot is free; takes all free slots.
    async fn free_slots(&self) -> Vec<OwnedSemaphorePermit> {
        let acquire = || self.slots.clone().acquire_owned();
        self.refill.open(true);
        let mut slots = vec![acquire().await.expect("the semaphore is never closed")];
        self.refill.open(false);
        while let Ok(slot) = self.slots.clone().try_acquire_owned() {
            slots.push(slot);
        }
        self.executor.ready().await;
        slots
    }

    fn claim_terms(&self, slots: &[OwnedSemaphorePermit]) -> ClaimTerms {
        // Shorter than a lease, so that what it brings is not old already.
        let wait = self.pace.borrow().min(LONGEST_WAIT);
        ClaimTerms {
            worker: self.terms.name.clone(),
            slots: slots.len() as u32,
            wait: wait.into(),
            queues: self.terms.registration.queues.clone(),
            request_id: Some(new_request_id()),
        }
    }

    /// Claims with one request id until there is an answer. When the worker is to stop, or cannot
    /// start jobs any more, it claims once more without waiting, so that no job is left behind in
    /// an unread answer.
    async fn claim(&self, terms: &ClaimTerms, soft: &CancellationToken) -> (Instant, Vec<Claimed>) {
        let mut backoff = Backoff::default();
        let asking = async {
            loop {
                let sent = Instant::now();
                let answer = self.master.claim(terms).await;
                self.link.note(&answer);
                match answer {
                    Ok(claimed) => return (sent, claimed),
                    Err(error) if error.is_temporary() => (),
                    Err(error) => tracing::error!("the master refuses a claim: {error}"),
                }
                sleep(backoff.next()).await;
            }
        };
        tokio::select! {
            biased;
            () = soft.cancelled() => (),
            () = self.unwell() => (),
            answer = asking => return answer,
        }
        self.claim_once_more(terms.clone()).await
    }

    async fn claim_once_more(&self, terms: ClaimTerms) -> (Instant, Vec<Claimed>) {
        let terms = ClaimTerms { wait: Duration::ZERO.into(), ..terms };
        let sent = Instant::now();
        let answer = timeout(ONCE_MORE, self.master.claim(&terms)).await;
        (sent, answer.ok().and_then(Result::ok).unwrap_or_default())
    }

    /// Waits until no attempt can be started any more.
    async fn unwell(&self) {
        if self.executor.health().wait_for(Option::is_some).await.is_err() {
            // It is an executor that always can.
            std::future::pending::<()>().await;
        }
    }

    fn spawn(
        self: &Arc<Self>,
        claimed: Vec<Claimed>,
        mut slots: Vec<OwnedSemaphorePermit>,
        sent: Instant,
        runs: &mut JoinSet<()>,
    ) {
        for one in claimed {
            let (worker, slot) = (self.clone(), slots.pop());
            runs.spawn(async move {
                worker.go_on(NextJobs::Jobs(sent, vec![one])).await;
                drop(slot);
            });
        }
    }

    /// Runs the next job of a slot, and the jobs that follow it.
    async fn go_on(&self, mut next: NextJobs) {
        while let Some((sent, Claimed { job, lease })) = self.next(next).await {
            let control = Control::new(deadline(sent, lease.ttl.0));
            let lease = LeaseRef { job: job.id, attempt: lease.attempt, token: lease.token };
            let (attempt, guard) = self.attempt(lease, control);
            next = attempt.run(job).await;
            drop(guard);
        }
    }

    /// The next job, and when it was claimed. A claim whose answer is unknown is repeated once.
    async fn next(&self, jobs: NextJobs) -> Option<(Instant, Claimed)> {
        let (sent, jobs) = match jobs {
            NextJobs::None => return None,
            NextJobs::Jobs(sent, jobs) => (sent, jobs),
            NextJobs::Unanswered(request) => {
                let queues = self.terms.registration.queues.clone();
                let (worker, wait) = (self.terms.name.clone(), Duration::ZERO.into());
                let request_id = Some(request);
                let terms = ClaimTerms { worker, slots: 1, wait, queues, request_id };
                self.claim_once_more(terms).await
            }
        };
        jobs.into_iter().next().map(|job| (sent, job))
    }

    /// An attempt whose lease is renewed until the guard is dropped.
    fn attempt(&self, lease: LeaseRef, control: Control) -> (run::Attempt, LeaseGuard) {
        let guard = self.leases.add(lease.clone(), control.clone());
        let attempt = run::Attempt {
            master: self.master.clone(),
            executor: self.executor.clone(),
            link: self.link.clone(),
            worker: self.terms.name.clone(),
            lease,
            control,
            refill: self.refill.clone(),
        };
        (attempt, guard)
    }

    /// Lets runs end within the grace time, then hands the rest back.
    async fn drain(&self, mut runs: JoinSet<()>, hard: &CancellationToken) {
        if !self.leases.is_empty() {
            tracing::info!("waiting up to {:?} for running jobs", self.terms.grace);
        }
        let all_ended = async { while runs.join_next().await.is_some() {} };
        tokio::select! {
            biased;
            () = all_ended => return,
            () = sleep(self.terms.grace) => (),
            () = hard.cancelled() => (),
        }
        tracing::info!(jobs = self.leases.all().len(), "handing back what still runs");
        self.leases.stop_all(Stop::HandBack);
        let all_ended = async { while runs.join_next().await.is_some() {} };
        if timeout(RELEASE, all_ended).await.is_err() {
            tracing::warn!(
                jobs = runs.len(),
                "not everything could be handed back; the leases will run out"
            );
        }
    }
}
