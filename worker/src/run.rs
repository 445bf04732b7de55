//! One attempt: preparing, starting, running, draining, reporting.
//!
//! The four things that happen at once (the executor works, its events go to
//! the outbox, the log is uploaded, the start is announced) are one task, so
//! that nothing of an attempt outlives it.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt;
use orchestra_client::Backoff;
use orchestra_contracts::{
    Job, JobStatus, Outcome, WorkerName,
    worker::{JobUpdate, LeaseRef, LogEnd},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};

use crate::{
    control::{Control, Stop},
    executor::{End, Executor, RunEvent, RunSpec},
    master::{Link, Master, is_lease_lost},
    outbox::{self, Outbox, Upload, UploadError},
};

/// Events between executor and outbox. Few: the outbox is where they gather.
const EVENTS: usize = 16;

/// The right to one attempt, and what is needed to make use of it.
pub(crate) struct Attempt {
    pub(crate) master: Arc<dyn Master>,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) link: Arc<Link>,
    pub(crate) worker: WorkerName,
    pub(crate) lease: LeaseRef,
    pub(crate) control: Control,
}

impl Attempt {
    /// From the claim to the accepted report, or to the loss of the lease.
    pub(crate) async fn run(&self, job: Job) {
        let (id, number) = (self.lease.job, self.lease.attempt);
        tracing::info!(job = %id, attempt = %number, "claimed");
        let (end, log) = self.execute(job).await;
        let Some(update) = self.report(end, log) else {
            tracing::warn!(job = %id, attempt = %number, "the lease is lost: ended without a report");
            return;
        };
        if self.deliver(&update).await {
            let outcome = update.outcome.as_ref().map_or_else(String::new, Outcome::to_string);
            tracing::info!(job = %id, attempt = %number, "ended: {outcome}");
        }
    }

    async fn execute(&self, job: Job) -> (End, Result<LogEnd, UploadError>) {
        let (events, arriving) = mpsc::channel(EVENTS);
        let (started, start) = oneshot::channel();
        let (outbox, upload) = outbox::open(
            self.master.clone(),
            self.link.clone(),
            self.worker.clone(),
            self.lease.clone(),
        );
        let (end, (), (), log) = tokio::join!(
            self.work(job, events),
            forward(arriving, started, outbox),
            self.announce(start),
            self.upload(upload),
        );
        (end, log)
    }

    /// The executor's part, ended when the lease runs out under it.
    async fn work(&self, job: Job, events: mpsc::Sender<RunEvent>) -> End {
        let spec = RunSpec { job: job.id, attempt: self.lease.attempt, spec: job.spec };
        let working = AssertUnwindSafe(self.executor.run(spec, self.control.subscribe(), events));
        let mut working = working.catch_unwind();
        let end = tokio::select! {
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

    async fn announce(&self, start: oneshot::Receiver<()>) {
        if start.await.is_ok() {
            self.deliver(&self.update(JobStatus::Running)).await;
        }
    }

    async fn upload(&self, upload: Upload) -> Result<LogEnd, UploadError> {
        let result = tokio::select! {
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
    fn report(&self, end: End, log: Result<LogEnd, UploadError>) -> Option<JobUpdate> {
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
        Some(JobUpdate {
            exit_code: outcome.exit_code(),
            outcome: Some(outcome),
            usage: end.usage,
            log,
            ..self.update(status)
        })
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
            log: None,
        }
    }

    /// Says it until the master has heard it, or the lease is lost.
    async fn deliver(&self, update: &JobUpdate) -> bool {
        let mut backoff = Backoff::default();
        let delivering = async {
            loop {
                let answer = self.master.update(update).await;
                self.link.note(&answer);
                match answer {
                    Ok(()) => return true,
                    Err(error) if error.is_temporary() => sleep(backoff.next()).await,
                    Err(error) => {
                        if is_lease_lost(&error) {
                            self.control.stop(Stop::Lost);
                        }
                        tracing::warn!(job = %self.lease.job, status = %update.status, "the master refuses a report: {error}");
                        return false;
                    }
                }
            }
        };
        tokio::select! {
            delivered = delivering => delivered,
            () = self.control.stopped(Stop::Lost) => false,
        }
    }
}

/// Hands frames on until the executor has no more.
async fn forward(
    mut events: mpsc::Receiver<RunEvent>,
    started: oneshot::Sender<()>,
    outbox: Outbox,
) {
    let mut started = Some(started);
    while let Some(event) = events.recv().await {
        match event {
            RunEvent::Frame(frame) => outbox.push(frame).await,
            RunEvent::Started => {
                if let Some(started) = started.take() {
                    // Nobody listens any more when the lease is lost.
                    let _ = started.send(());
                }
            }
        }
    }
}

fn message_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("it panicked")
}
