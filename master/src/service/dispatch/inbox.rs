//! The dispatcher's inbox, and the handle through which the service puts claims, submissions and
//! reports into it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::Instant,
};

use super::Handout;
use crate::{
    domain::{Job, NewJob, Rules},
    store::{Applied, ClaimSpec, Once, Report, Store, StoreError, Submission, Submitted},
};

/// Capacity of the inbox for claims, and for reports. When it is full, callers wait.
const MAX_CLAIMS: usize = 1024;
/// Capacity of the inbox for submissions. When it is full, the service stores them itself.
const MAX_SUBMISSIONS: usize = 64;

pub(super) type Answer = Result<Handout, StoreError>;

/// The result of a report; `None` if there is no such job.
pub(in crate::service) type Reported = Result<Option<Applied>, StoreError>;

/// The sending end of the inbox.
#[derive(Debug)]
pub(in crate::service) struct DispatcherHandle {
    claims: mpsc::Sender<PendingClaim>,
    submissions: mpsc::Sender<PendingSubmission>,
    reports: mpsc::Sender<PendingReport>,
    look: Arc<Notify>,
    /// How many claims waited after the dispatcher's last pass.
    waiting: Arc<AtomicUsize>,
}

/// The receiving end, which the dispatcher holds.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) claims: mpsc::Receiver<PendingClaim>,
    pub(super) submissions: mpsc::Receiver<PendingSubmission>,
    pub(super) reports: mpsc::Receiver<PendingReport>,
    pub(super) look: Arc<Notify>,
    pub(super) waiting: Arc<AtomicUsize>,
}

/// A claim that waits for jobs, until a deadline.
#[derive(Debug)]
pub(super) struct PendingClaim {
    pub(super) spec: Arc<ClaimSpec>,
    pub(super) until: Instant,
    /// When the store last looked for an earlier answer to the same request.
    pub(super) looked_back: Option<Instant>,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// A submission whose caller waits until it is stored.
#[derive(Debug)]
pub(super) struct PendingSubmission {
    pub(super) submission: Submission,
    pub(super) answer: oneshot::Sender<Result<Submitted, StoreError>>,
}

/// A report that claims the next jobs, too.
#[derive(Debug)]
pub(super) struct PendingReport {
    pub(super) report: Report,
    pub(super) answer: oneshot::Sender<Reported>,
    /// The report's claim, which does not wait.
    pub(super) claim: PendingClaim,
}

pub(super) fn open() -> (DispatcherHandle, Inbox) {
    let (claim_sender, claims) = mpsc::channel(MAX_CLAIMS);
    let (report_sender, reports) = mpsc::channel(MAX_CLAIMS);
    let (submission_sender, submissions) = mpsc::channel(MAX_SUBMISSIONS);
    let (look, waiting) = (Arc::new(Notify::new()), Arc::default());
    let handle = DispatcherHandle {
        claims: claim_sender,
        submissions: submission_sender,
        reports: report_sender,
        look: look.clone(),
        waiting: Arc::clone(&waiting),
    };
    (handle, Inbox { claims, submissions, reports, look, waiting })
}

impl DispatcherHandle {
    /// Wakes the dispatcher: a job became claimable.
    pub(in crate::service) fn look_again(&self) {
        self.look.notify_one();
    }

    /// Stores jobs and wakes the dispatcher. Where claims wait, one transaction stores the jobs and
    /// hands them out.
    pub(in crate::service) async fn submit(
        &self,
        store: &dyn Store,
        jobs: Vec<NewJob>,
        once: Option<Once>,
        now: Timestamp,
    ) -> Result<Submitted, StoreError> {
        let (answer, answered) = oneshot::channel();
        let mut pending = PendingSubmission { submission: Submission { jobs, once, now }, answer };
        if self.waiting.load(Ordering::Relaxed) > 0 {
            match self.submissions.try_send(pending) {
                Ok(()) => return answered.await.unwrap_or_else(|_| Err(closing())),
                Err(error) => pending = error.into_inner(),
            }
        }
        let Submission { jobs, once, now } = pending.submission;
        let submitted = store.submit(jobs, once, now).await?;
        self.look_again();
        Ok(submitted)
    }

    /// Stores a report and answers the claim that comes with it, after all claims that wait
    /// already. Jobs of a handout that is not accepted are given back. Without a dispatcher the
    /// claim gets no jobs.
    pub(in crate::service) async fn report(
        &self,
        store: &dyn Store,
        report: Report,
        rules: Rules,
        spec: ClaimSpec,
    ) -> (Reported, Result<Handout, StoreError>) {
        let (answer, answered) = oneshot::channel();
        let (found, finding) = oneshot::channel();
        let (spec, until) = (Arc::new(spec), Instant::now());
        let claim = PendingClaim { spec, until, looked_back: None, answer: found };
        if let Err(error) = self.reports.send(PendingReport { report, answer, claim }).await {
            return (store.report(error.0.report, rules).await, Err(closing()));
        }
        let (reported, found) = tokio::join!(answered, finding);
        (reported.unwrap_or_else(|_| Err(closing())), found.unwrap_or_else(|_| Err(closing())))
    }

    /// Waits until there are jobs for the claim, or the time is over. Without a dispatcher, as
    /// during shutdown, returns none.
    pub(in crate::service) async fn claim(
        &self,
        spec: ClaimSpec,
        wait: Duration,
    ) -> Result<Vec<Job>, StoreError> {
        let (answer, answered) = oneshot::channel();
        let (spec, until) = (Arc::new(spec), Instant::now() + wait);
        let waiting = PendingClaim { spec, until, looked_back: None, answer };
        if self.claims.send(waiting).await.is_err() {
            return Ok(Vec::new());
        }
        match answered.await {
            Ok(answer) => answer.map(Handout::accept),
            Err(_) => Ok(Vec::new()),
        }
    }
}

/// The error when the dispatcher has ended before it took the call. Nothing was stored.
fn closing() -> StoreError {
    StoreError::Unavailable {
        reason: "nobody takes it in any more".to_owned(),
        hint: "the master is shutting down; try again when it is back",
    }
}
