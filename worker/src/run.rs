//! One attempt: preparing, starting, running, draining, reporting; or, when an
//! earlier process of this worker began it, from wherever it stands on.
//!
//! The four things that happen at once (the executor works, its events go to
//! the outbox, the log is uploaded, the start is announced) are one task, so
//! that nothing of an attempt outlives it. The files that it leaves follow when
//! the executor is done, and before the log is closed: it says which are left out.

use std::{any::Any, panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::FutureExt;
use orchestra_client::{Backoff, ClientError};
use orchestra_contracts::{
    Job, JobStatus, Outcome, ProblemKind, Ran, WorkerName,
    files::Artifact,
    worker::{Claimed, JobUpdate, LeaseRef, LogHead, LogRest},
};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::{Instant, sleep, timeout},
};
use tracing::Instrument as _;

use crate::{
    appetite::Appetite,
    artifacts::{self, LeaseLost},
    control::{Control, Stop},
    executor::{End, Executor, Remains, RunEvent, RunSpec},
    master::{Link, Master, is_lease_lost},
    outbox::{self, Closed, Outbox, Upload, UploadError},
    trace::{Times, Trace},
    uploads::FromMaster,
};

/// An attempt that is over so soon after its start, all that it leaves included, is told to the
/// master in one report: that is half of the requests and commits, and its end does not wait for
/// the answer to its start.
const SHORT: Duration = Duration::from_millis(10);

/// Events between executor and outbox. Few: the outbox is where they gather.
const EVENTS: usize = 16;

/// What came of an attempt.
struct Ended {
    end: End,
    /// What is stored of the files that it left.
    artifacts: Vec<Artifact>,
    /// What it ran in, where its start was not told.
    unsaid: Option<Box<Ran>>,
    log: Result<Closed, UploadError>,
}

/// What came of telling the master.
enum Told {
    /// It has heard it, asked at this moment, and answered with these jobs.
    Heard(Instant, Vec<Claimed>),
    Refused(ClientError),
    /// The lease is lost; it may have heard it.
    Unanswered,
}

/// The right to one attempt, and what is needed to make use of it.
pub(crate) struct Attempt {
    pub(crate) master: Arc<dyn Master>,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) link: Arc<Link>,
    pub(crate) worker: WorkerName,
    pub(crate) lease: LeaseRef,
    pub(crate) control: Control,
    pub(crate) appetite: Arc<Appetite>,
}

/// What the report of an attempt's end brought for its slot.
#[derive(Debug)]
pub(crate) enum After {
    Nothing,
    /// Jobs, asked for at this moment.
    Jobs(Instant, Vec<Claimed>),
    /// A claim of this id may have been answered.
    Unanswered(String),
}

impl Attempt {
    /// From the claim to the accepted report, or to the loss of the lease; and what that brought.
    pub(crate) async fn run(&self, job: Job) -> After {
        let of_log = Trace::of_log(&job);
        self.begin(job).instrument(of_log).await
    }

    async fn begin(&self, job: Job) -> After {
        let trace = Trace::begin(&job, &self.lease, &self.worker);
        tracing::info!(job = %job.id, attempt = %self.lease.attempt, "claimed");
        let (events, arriving) = mpsc::channel(EVENTS);
        let working = self.executor.run(self.spec(job), self.control.subscribe(), events);
        let ended = self.carry_out(working, arriving, LogHead::default(), true, &trace).await;
        self.conclude(ended, trace).await
    }

    /// The same for an attempt that is under way.
    pub(crate) async fn resume(&self, job: Job, remains: Box<dyn Remains>) -> After {
        let of_log = Trace::of_log(&job);
        self.go_on(job, remains).instrument(of_log).await
    }

    async fn go_on(&self, job: Job, remains: Box<dyn Remains>) -> After {
        let trace = Trace::begin(&job, &self.lease, &self.worker);
        let Some(stored) = self.stored().await else {
            tracing::warn!(job = %job.id, attempt = %self.lease.attempt, "could not be taken back");
            return After::Nothing;
        };
        tracing::info!(job = %job.id, attempt = %self.lease.attempt, "taken back at byte {}", stored.output + stored.gap);
        let announce = job.status != JobStatus::Running;
        let (events, arriving) = mpsc::channel(EVENTS);
        let orders = self.control.subscribe();
        let working = remains.resume(self.spec(job), stored, orders, events);
        let ended = self.carry_out(working, arriving, stored, announce, &trace).await;
        self.conclude(ended, trace).await
    }

    fn spec(&self, job: Job) -> RunSpec {
        let element = job.element();
        let (master, link) = (self.master.clone(), self.link.clone());
        let supply = Arc::new(FromMaster { master, link });
        RunSpec { job: job.id, attempt: self.lease.attempt, element, spec: job.spec, supply }
    }

    /// How much of the log the master has: an upload of nothing is answered with
    /// that. `None` when the attempt is not ours any more, or not for long.
    async fn stored(&self) -> Option<LogHead> {
        let mut backoff = Backoff::default();
        let asking = async {
            loop {
                let nothing = Bytes::new();
                let answer = self.master.append_log(&self.worker, &self.lease, 0, nothing).await;
                self.link.note(&answer);
                match answer {
                    Ok(head) => return Some(head),
                    Err(error) if error.is_temporary() => sleep(backoff.next()).await,
                    Err(error) => {
                        tracing::warn!(job = %self.lease.job, "the master does not tell its log's end: {error}");
                        return None;
                    }
                }
            }
        };
        tokio::select! {
            biased;
            head = asking => head,
            () = self.control.expired() => None,
            () = self.control.stopped(Stop::HandBack) => None,
        }
    }

    async fn conclude(&self, mut ended: Ended, mut trace: Trace) -> After {
        let (id, number) = (self.lease.job, self.lease.attempt);
        // Until the report is delivered, or nobody waits for it any more.
        let _kept = std::mem::take(&mut ended.end.kept);
        let Some((mut update, log)) = self.report(ended) else {
            tracing::warn!(job = %id, attempt = %number, "the lease is lost: ended without a report");
            trace.lost();
            return After::Nothing;
        };
        let report = trace.part("report");
        let told = self.tell_end(&mut update, log).await;
        if let Some(report) = report {
            report.end_ago(Duration::ZERO);
        }
        match (&update.outcome, &told) {
            (Some(outcome), Told::Heard(..)) => {
                trace.end(outcome);
                tracing::info!(job = %id, attempt = %number, "ended: {outcome}");
            }
            _ => trace.lost(),
        }
        match (told, update.claim.and_then(|claim| claim.request_id)) {
            (Told::Heard(sent, jobs), _) if !jobs.is_empty() => After::Jobs(sent, jobs),
            (Told::Unanswered, Some(request)) => After::Unanswered(request),
            _ => After::Nothing,
        }
    }

    /// With the rest of the log; to a master that does not take it along, behind that.
    async fn tell_end(&self, update: &mut JobUpdate, log: Option<Closed>) -> Told {
        let told = self.tell(update).await;
        let is_short = |error: &ClientError| error.kind() == Some(ProblemKind::LogIncomplete);
        let (Told::Refused(error), Some(mut log)) = (&told, log) else { return told };
        if update.rest.is_none() || !is_short(error) {
            return told;
        }
        self.link.note_no_rests();
        update.rest = None;
        let stored = tokio::select! {
            biased;
            stored = log.store_rest() => stored,
            () = self.control.stopped(Stop::Lost) => Err(UploadError::LeaseLost),
        };
        match stored {
            Ok(()) => self.tell(update).await,
            Err(error) => {
                tracing::warn!(job = %self.lease.job, "the last of its log could not be stored: {error}");
                told
            }
        }
    }

    async fn carry_out(
        &self,
        working: impl Future<Output = End>,
        arriving: mpsc::Receiver<RunEvent>,
        stored: LogHead,
        announce: bool,
        trace: &Trace,
    ) -> Ended {
        let (started, start) = oneshot::channel();
        let (outbox, upload) = outbox::open(
            self.master.clone(),
            self.link.clone(),
            self.worker.clone(),
            self.lease.clone(),
            stored,
        );
        let work = async { (self.work(working).await, Instant::now()) };
        let work = async {
            let forward = forward(arriving, started, outbox);
            let ((mut end, ended), outbox) = tokio::join!(biased; work, forward);
            let artifacts = Box::pin(self.keep(&mut end, &outbox)).await;
            // With it the log ends.
            drop(outbox);
            (end, ended, artifacts)
        };
        let over = Notify::new();
        let announce = async {
            match start.await {
                Ok(ran) if announce => (Some(Instant::now()), self.announce(ran, &over).await),
                Ok(_) => (Some(Instant::now()), None),
                Err(_) => (None, None),
            }
        };
        let whole = async {
            // In this order, so that what comes together with the end is not sent before it.
            let whole = tokio::join!(biased; work, self.upload(upload));
            over.notify_one();
            whole
        };
        let (((mut end, ended, artifacts), log), (started, unsaid)) = tokio::join!(whole, announce);
        if let Some(usage) = &mut end.usage {
            usage.drain_ms = Some(millis(ended.elapsed()));
        }
        trace.parts(Times { started, ended }, end.usage.as_ref());
        Ended { end, artifacts, unsaid, log }
    }

    /// Brings the files that it left to the master, for as long as the lease holds.
    async fn keep(&self, end: &mut End, outbox: &Outbox) -> Vec<Artifact> {
        let Some(leavings) = end.leavings.take() else { return Vec::new() };
        let courier = artifacts::Courier {
            master: &*self.master,
            link: &self.link,
            worker: &self.worker,
            lease: &self.lease,
            log: outbox,
        };
        tokio::select! {
            biased;
            () = self.control.stopped(Stop::Lost) => Vec::new(),
            // An attempt without its log is worth nothing.
            () = outbox.closed() => Vec::new(),
            stored = courier.store(&*leavings) => stored.unwrap_or_else(|LeaseLost| {
                self.control.stop(Stop::Lost);
                Vec::new()
            }),
        }
    }

    /// The executor's part, ended when the lease runs out under it.
    async fn work(&self, working: impl Future<Output = End>) -> End {
        let mut working = pin!(AssertUnwindSafe(working).catch_unwind());
        let end = tokio::select! {
            biased;
            end = &mut working => end,
            () = self.control.expired() => {
                tracing::warn!(job = %self.lease.job, "the lease could not be renewed in time");
                self.control.stop(Stop::Lost);
                working.await
            }
        };
        end.unwrap_or_else(|panic| {
            let reason = format!("a defect of the worker: {}", message_of(&*panic));
            Outcome::CouldNotStart { reason }.into()
        })
    }

    /// Says that it runs, unless it is `over` first: then what it ran in is for the last report.
    async fn announce(&self, ran: Option<Box<Ran>>, over: &Notify) -> Option<Box<Ran>> {
        if ran.is_some() && timeout(SHORT, over.notified()).await.is_ok() {
            return ran;
        }
        self.tell(&JobUpdate { ran, ..self.update(JobStatus::Running) }).await;
        None
    }

    async fn upload(&self, upload: Upload) -> Result<Closed, UploadError> {
        let result = tokio::select! {
            biased;
            result = upload.run() => result,
            () = self.control.stopped(Stop::Lost) => Err(UploadError::LeaseLost),
        };
        match &result {
            Ok(_) => (),
            Err(UploadError::LeaseLost) => self.control.stop(Stop::Lost),
            // An attempt without its log is worth nothing.
            Err(_) => self.control.stop(Stop::HandBack),
        }
        result
    }

    /// What to say of the end; `None` when the attempt is not ours any more.
    fn report(
        &self,
        Ended { end, artifacts, unsaid, log }: Ended,
    ) -> Option<(JobUpdate, Option<Closed>)> {
        if self.control.stopping() == Some(Stop::Lost) || end.outcome == Outcome::Lost {
            return None;
        }
        let (outcome, log) = match log {
            Ok(log) => (end.outcome, Some(log)),
            Err(error) => {
                let reason = format!("its log could not be stored: {error}");
                (Outcome::CouldNotStart { reason }, None)
            }
        };
        let status = match &outcome {
            Outcome::HandedBack => JobStatus::Pending,
            outcome if outcome.is_success() => JobStatus::Completed,
            _ => JobStatus::Failed,
        };
        let rest = log.as_ref().map(|log| log.rest.clone()).filter(|rest| !rest.is_empty());
        let claim = if status == JobStatus::Pending { None } else { self.appetite.claim() };
        let update = JobUpdate {
            exit_code: outcome.exit_code(),
            outcome: Some(outcome),
            usage: end.usage,
            ran: unsaid,
            log: log.as_ref().map(|log| log.end),
            rest: rest.map(LogRest),
            artifacts,
            changes: end.changes,
            claim,
            ..self.update(status)
        };
        Some((update, log))
    }

    fn update(&self, status: JobStatus) -> JobUpdate {
        JobUpdate {
            id: self.lease.job,
            status,
            assigned_worker: self.worker.clone(),
            attempt: Some(self.lease.attempt),
            lease_token: Some(self.lease.token.clone()),
            exit_code: None,
            output: None,
            error: None,
            outcome: None,
            usage: None,
            ran: None,
            log: None,
            rest: None,
            artifacts: Vec::new(),
            changes: None,
            claim: None,
        }
    }

    /// Says it until the master has heard it, or the lease is lost.
    async fn tell(&self, update: &JobUpdate) -> Told {
        let mut backoff = Backoff::default();
        let telling = async {
            loop {
                let sent = Instant::now();
                let answer = self.master.update(update).await;
                self.link.note(&answer);
                match answer {
                    Ok(jobs) => return Told::Heard(sent, jobs),
                    Err(error) if error.is_temporary() => sleep(backoff.next()).await,
                    Err(error) => {
                        if is_lease_lost(&error) {
                            self.control.stop(Stop::Lost);
                        }
                        tracing::warn!(job = %self.lease.job, status = %update.status, "the master refuses a report: {error}");
                        return Told::Refused(error);
                    }
                }
            }
        };
        tokio::select! {
            biased;
            told = telling => told,
            () = self.control.stopped(Stop::Lost) => Told::Unanswered,
        }
    }
}

/// Hands frames on until the executor has no more, and gives the outbox back.
async fn forward(
    mut events: mpsc::Receiver<RunEvent>,
    started: oneshot::Sender<Option<Box<Ran>>>,
    outbox: Outbox,
) -> Outbox {
    let (mut started, mut made) = (Some(started), None);
    while let Some(event) = events.recv().await {
        match event {
            RunEvent::Frame(frame) => outbox.push(frame).await,
            RunEvent::Made(ran) => made = Some(ran),
            RunEvent::Started => {
                if let Some(started) = started.take() {
                    // Nobody listens any more when the lease is lost.
                    let _ = started.send(made.take());
                }
            }
        }
    }
    outbox
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn message_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("it panicked")
}
