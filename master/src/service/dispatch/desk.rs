//! The service's side of the dispatcher: where claims, submissions and reports are left.

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

/// Claims that wait for the dispatcher to take them in; more of them wait in line.
const INBOX: usize = 1024;
/// Submissions likewise; more of them are stored without its help.
const HANDED_IN: usize = 64;

pub(super) type Answer = Result<Handout, StoreError>;

/// What became of a report; `None` where there is no such job.
pub(in crate::service) type Reported = Result<Option<Applied>, StoreError>;

/// Where claims, submissions and reports are left.
#[derive(Debug)]
pub(in crate::service) struct Desk {
    inbox: mpsc::Sender<Waiting>,
    handed_in: mpsc::Sender<HandedIn>,
    reports: mpsc::Sender<Claiming>,
    look: Arc<Notify>,
    /// How many claims waited when the dispatcher looked last.
    waiting: Arc<AtomicUsize>,
}

/// The dispatcher's end of it.
#[derive(Debug)]
pub(super) struct Tray {
    pub(super) inbox: mpsc::Receiver<Waiting>,
    pub(super) handed_in: mpsc::Receiver<HandedIn>,
    pub(super) reports: mpsc::Receiver<Claiming>,
    pub(super) look: Arc<Notify>,
    pub(super) waiting: Arc<AtomicUsize>,
}

/// A claim.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) spec: Arc<ClaimSpec>,
    pub(super) until: Instant,
    /// When the store last looked whether it had answered the same request before.
    pub(super) looked_back: Option<Instant>,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// A submission for which somebody waits.
#[derive(Debug)]
pub(super) struct HandedIn {
    pub(super) submission: Submission,
    pub(super) answer: oneshot::Sender<Result<Submitted, StoreError>>,
}

/// A report whose worker claims with it.
#[derive(Debug)]
pub(super) struct Claiming {
    pub(super) report: Report,
    pub(super) answer: oneshot::Sender<Reported>,
    /// Does not wait.
    pub(super) claim: Waiting,
}

pub(super) fn open() -> (Desk, Tray) {
    let (claims, inbox) = mpsc::channel(INBOX);
    let (claiming, reports) = mpsc::channel(INBOX);
    let (submissions, handed_in) = mpsc::channel(HANDED_IN);
    let (look, waiting) = (Arc::new(Notify::new()), Arc::default());
    let desk = Desk {
        inbox: claims,
        handed_in: submissions,
        reports: claiming,
        look: look.clone(),
        waiting: Arc::clone(&waiting),
    };
    (desk, Tray { inbox, handed_in, reports, look, waiting })
}

impl Desk {
    /// Something became claimable.
    pub(in crate::service) fn look_again(&self) {
        self.look.notify_one();
    }

    /// Stores jobs and lets workers know of them. Where claims wait, one transaction does both.
    pub(in crate::service) async fn submit(
        &self,
        store: &dyn Store,
        jobs: Vec<NewJob>,
        once: Option<Once>,
        now: Timestamp,
    ) -> Result<Submitted, StoreError> {
        let (answer, answered) = oneshot::channel();
        let mut handed_in = HandedIn { submission: Submission { jobs, once, now }, answer };
        if self.waiting.load(Ordering::Relaxed) > 0 {
            match self.handed_in.try_send(handed_in) {
                Ok(()) => return answered.await.unwrap_or_else(|_| Err(closing())),
                Err(error) => handed_in = error.into_inner(),
            }
        }
        let Submission { jobs, once, now } = handed_in.submission;
        let submitted = store.submit(jobs, once, now).await?;
        self.look_again();
        Ok(submitted)
    }

    /// Stores a report and, behind it and behind all claims that wait already, answers its worker's
    /// claim. What that got goes back where the handout is not accepted. Without a dispatcher it
    /// gets nothing.
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
        let claim = Waiting { spec, until, looked_back: None, answer: found };
        if let Err(error) = self.reports.send(Claiming { report, answer, claim }).await {
            return (store.report(error.0.report, rules).await, Err(closing()));
        }
        let (reported, found) = tokio::join!(answered, finding);
        (reported.unwrap_or_else(|_| Err(closing())), found.unwrap_or_else(|_| Err(closing())))
    }

    /// Waits until there are jobs for the claim or the time is over. Without a
    /// dispatcher, which is so during shutdown, there are none.
    pub(in crate::service) async fn claim(
        &self,
        spec: ClaimSpec,
        wait: Duration,
    ) -> Result<Vec<Job>, StoreError> {
        let (answer, answered) = oneshot::channel();
        let (spec, until) = (Arc::new(spec), Instant::now() + wait);
        let waiting = Waiting { spec, until, looked_back: None, answer };
        if self.inbox.send(waiting).await.is_err() {
            return Ok(Vec::new());
        }
        match answered.await {
            Ok(answer) => answer.map(Handout::accept),
            Err(_) => Ok(Vec::new()),
        }
    }
}

/// Nothing of it was stored: the dispatcher has ended before it looked at it.
fn closing() -> StoreError {
    StoreError::Unavailable {
        reason: "nobody takes it in any more".to_owned(),
        hint: "the master is shutting down; try again when it is back",
    }
}
