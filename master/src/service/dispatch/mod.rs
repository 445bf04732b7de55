//! The dispatcher. It holds the claims of all waiting workers in order of arrival, and asks the
//! store for all of them at once whenever a job became claimable. While claims wait, it also stores
//! new submissions, so that the same transaction hands them out, and reports that claim, whose
//! claims go behind the waiting ones.
//!
//! A lease that cannot be delivered, because its claimer has gone, is given back at once: see
//! [`Handout`]. The dispatcher opens the secrets of the jobs that it hands out.

mod inbox;

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use orchestra_contracts::{AttemptNo, JobId, Outcome};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

pub(super) use self::inbox::DispatcherHandle;
use self::inbox::{Inbox, PendingClaim, PendingReport, PendingSubmission};
use super::{Service, trace, vault::CannotOpen};
use crate::{
    domain::{AttemptResults, Job, JobEvent, Proof},
    store::{BatchReply, BatchRequest, Claim, StoreError},
};

/// The poll interval: retries become claimable by the clock, and a wake-up may be lost.
const POLL: Duration = Duration::from_secs(1);
/// The most reports in one transaction: each may carry a piece of a log.
const REPORTS: usize = 256;

/// The dispatcher's state.
#[derive(Debug)]
pub struct ClaimQueue {
    inbox: Inbox,
    undelivered: Undelivered,
}

/// Jobs on their way to a claimer. Dropped unaccepted, wherever that happens, they return to the
/// dispatcher, which gives their leases back.
#[derive(Debug)]
pub(super) struct Handout {
    jobs: Vec<Job>,
    undelivered: Undelivered,
    look: Arc<Notify>,
}

/// Holds at most as many jobs as there are unanswered claims.
type Undelivered = Arc<Mutex<Vec<Job>>>;

pub(super) fn open() -> (DispatcherHandle, ClaimQueue) {
    let (handle, inbox) = inbox::open();
    (handle, ClaimQueue { inbox, undelivered: Undelivered::default() })
}

impl Handout {
    /// Accepts the jobs. The caller must send them to its client without waiting in between.
    pub(super) fn accept(mut self) -> Vec<Job> {
        mem::take(&mut self.jobs)
    }
}

impl Drop for Handout {
    fn drop(&mut self) {
        if !self.jobs.is_empty() {
            lock(&self.undelivered).append(&mut self.jobs);
            self.look.notify_one();
        }
    }
}

impl PendingClaim {
    /// Whether to look for a lost answer: when the claim arrives, and from time to time, in case
    /// another master answered it.
    fn looks_back(&mut self, now: Instant) -> bool {
        let is_due = self.looked_back.is_none_or(|before| now - before >= POLL);
        if is_due {
            self.looked_back = Some(now);
        }
        is_due
    }
}

/// Answers claims until the service's shutdown token ends it.
pub async fn run(service: Arc<Service>, mut queue: ClaimQueue) {
    let mut waiting = VecDeque::new();
    loop {
        let poll = Instant::now() + POLL;
        let next = waiting.iter().map(|one: &PendingClaim| one.until).min();
        let (mut submissions, mut reports) = (Vec::new(), Vec::new());
        let inbox = &mut queue.inbox;
        tokio::select! {
            biased;
            () = service.shutdown.cancelled() => break,
            Some(claim) = inbox.claims.recv() => waiting.push_back(claim),
            Some(jobs) = inbox.submissions.recv() => submissions.push(jobs),
            Some(report) = inbox.reports.recv() => reports.push(report),
            () = inbox.look.notified() => {}
            () = sleep_until(next.map_or(poll, |next| next.min(poll))) => {}
        }
        while let Ok(claim) = inbox.claims.try_recv() {
            waiting.push_back(claim);
        }
        while let Ok(jobs) = inbox.submissions.try_recv() {
            submissions.push(jobs);
        }
        while reports.len() < REPORTS
            && let Ok(report) = inbox.reports.try_recv()
        {
            reports.push(report);
        }
        give_back(&service, &queue.undelivered).await;
        waiting = answer(&service, &queue, waiting, (submissions, reports)).await;
        queue.inbox.waiting.store(waiting.len(), Ordering::Relaxed);
    }
    drop(waiting);
    give_back(&service, &queue.undelivered).await;
}

/// Sends one batch to the store: submissions, reports, then all waiting claims. Answers the
/// callers; returns the claims that still wait.
async fn answer(
    service: &Service,
    queue: &ClaimQueue,
    mut waiting: VecDeque<PendingClaim>,
    (mut submissions, mut reports): (Vec<PendingSubmission>, Vec<PendingReport>),
) -> VecDeque<PendingClaim> {
    // Whoever has gone will ask again: by the key of the submission, with the same report.
    submissions.retain(|one| !one.answer.is_closed());
    reports.retain(|one| !one.answer.is_closed());
    let (submissions, submitters): (Vec<_>, Vec<_>) =
        submissions.into_iter().map(|one| (one.submission, one.answer)).unzip();
    let (mut all, mut reporters) = (Vec::new(), Vec::new());
    for PendingReport { report, answer, claim } in reports {
        all.push(report);
        reporters.push(answer);
        waiting.push_back(claim);
    }
    waiting.retain(|one| !one.answer.is_closed());
    let batch =
        BatchRequest { submissions, reports: all, claims: Vec::new(), rules: service.rules() };
    let BatchReply { submitted, reported, claimed: found } =
        ask(service, batch, &mut waiting).await;
    for (answer, submitted) in submitters.into_iter().zip(submitted) {
        drop(answer.send(submitted));
    }
    for (answer, reported) in reporters.into_iter().zip(reported) {
        drop(answer.send(reported));
    }
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            refuse_all(waiting, &error);
            return VecDeque::new();
        }
    };
    let now = Instant::now();
    let mut still_waiting = VecDeque::new();
    for (one, jobs) in waiting.into_iter().zip(found) {
        let jobs = unlocked(service, jobs).await;
        if jobs.is_empty() && now < one.until {
            still_waiting.push_back(one);
            continue;
        }
        for job in &jobs {
            service.hub.wake(job.id);
            trace::claimed(job, service.clock.now());
        }
        let (undelivered, look) = (queue.undelivered.clone(), queue.inbox.look.clone());
        // A claimer who has gone gets it back as an error, and drops it.
        drop(one.answer.send(Ok(Handout { jobs, undelivered, look })));
    }
    still_waiting
}

/// Sends the batch to the store. Each claim is matched by the workers' current offers, which may
/// have changed while it waited.
async fn ask(
    service: &Service,
    batch: BatchRequest,
    waiting: &mut VecDeque<PendingClaim>,
) -> BatchReply {
    let offers = if waiting.is_empty() { Ok(Arc::default()) } else { service.offers().await };
    // With nothing to go by nobody is handed anything; what was handed in is stored all the same.
    let (offers, without) = match offers {
        Ok(offers) => (offers, None),
        Err(error) => (Arc::default(), Some(error)),
    };
    let now = Instant::now();
    let claim = |one: &mut PendingClaim| {
        let looks_back = one.looks_back(now);
        Claim { looks_back, ..Claim::new(one.spec.clone(), offers.clone()) }
    };
    let claims: Vec<Claim> =
        if without.is_some() { Vec::new() } else { waiting.iter_mut().map(claim).collect() };
    if claims.is_empty() && batch.submissions.is_empty() && batch.reports.is_empty() {
        let claimed = without.map_or_else(|| Ok(Vec::new()), Err);
        return BatchReply { submitted: Vec::new(), reported: Vec::new(), claimed };
    }
    let (mut submitted, mut reported) = (Vec::new(), Vec::new());
    let asking = async {
        let done = service.store.batch(BatchRequest { claims, ..batch }).await;
        (submitted, reported) = (done.submitted, done.reported);
        without.map_or(done.claimed, Err)
    };
    let claimed = service.metrics.stored("claim", asking).await;
    BatchReply { submitted, reported, claimed }
}

/// Opens the jobs' secrets. A job whose secrets cannot be opened ends: no worker could run it.
async fn unlocked(service: &Service, jobs: Vec<Job>) -> Vec<Job> {
    let mut opened = Vec::with_capacity(jobs.len());
    for mut job in jobs {
        if service.vault.open(&mut job.spec).is_ok() {
            opened.push(job);
            continue;
        }
        let outcome = Outcome::Refused { reason: CannotOpen::REASON.to_owned() };
        tracing::warn!(job = %job.id, "{}", CannotOpen::REASON);
        end(service, &job, outcome).await;
    }
    opened
}

fn refuse_all(waiting: VecDeque<PendingClaim>, error: &StoreError) {
    // Nothing is wrong with the claims themselves.
    let error = match error {
        StoreError::Corrupt { .. } | StoreError::Unusable { .. } => {
            StoreError::Unavailable { reason: error.to_string(), hint: "look at its log" }
        }
        StoreError::Unavailable { .. } | StoreError::NoRoom { .. } => error.clone(),
    };
    for one in waiting {
        drop(one.answer.send(Err(error.clone())));
    }
}

/// Gives undelivered leases back. Where the database is down, they expire by themselves.
async fn give_back(service: &Service, undelivered: &Undelivered) {
    let jobs = mem::take(&mut *lock(undelivered));
    for job in jobs {
        if end(service, &job, Outcome::HandedBack).await {
            tracing::info!(job = %job.id, "took a job back from a claimer who has gone");
        }
    }
}

/// Ends an attempt that no worker begins.
async fn end(service: &Service, job: &Job, outcome: Outcome) -> bool {
    let Some((id, proof)) = proof_of(job) else { return false };
    let event = JobEvent::Ended {
        proof,
        outcome,
        usage: None,
        log: None,
        tail: None,
        results: AttemptResults::default(),
    };
    let ended = service.apply(id, event).await;
    if let Err(error) = &ended {
        tracing::warn!(job = %id, %error, "nobody begins it, and it stays leased");
    }
    ended.is_ok()
}

fn proof_of(job: &Job) -> Option<(JobId, Proof)> {
    let lease = job.lease()?;
    let attempt = Some(AttemptNo(job.attempts));
    Some((job.id, Proof { worker: lease.worker.clone(), token: lease.token.clone(), attempt }))
}

fn lock(undelivered: &Undelivered) -> std::sync::MutexGuard<'_, Vec<Job>> {
    undelivered.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use orchestra_contracts::JobSpec;

    use super::*;

    fn handout() -> (Handout, Undelivered) {
        let undelivered = Undelivered::default();
        let job = Job::new(JobId(1), JobSpec::new("true"), Timestamp::UNIX_EPOCH);
        let look = Arc::new(Notify::new());
        (Handout { jobs: vec![job], undelivered: undelivered.clone(), look }, undelivered)
    }

    #[test]
    fn what_is_accepted_is_delivered() {
        let (handout, undelivered) = handout();
        assert_eq!(handout.accept().len(), 1);
        assert!(lock(&undelivered).is_empty());
    }

    /// A claimer may go away while its answer lies in the channel.
    #[test]
    fn what_nobody_takes_comes_back() {
        let (handout, undelivered) = handout();
        let (answer, answered) = tokio::sync::oneshot::channel::<inbox::Answer>();
        drop(answer.send(Ok(handout)));
        assert!(lock(&undelivered).is_empty());
        drop(answered);
        assert_eq!(lock(&undelivered).len(), 1);
    }
}
