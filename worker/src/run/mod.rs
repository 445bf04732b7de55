//! Runs one attempt: prepare, start, run, drain, report; or resumes one that an earlier process of
//! this worker began.
//!
//! Four things happen at the same time: the executor works, its events go to the outbox, the log is
//! uploaded, and the start is reported. They are one task, so that nothing of an attempt outlives
//! it. The artifacts are uploaded when the executor is done and before the log is closed, because
//! the log says which are left out.

mod report;

use std::{any::Any, panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::FutureExt;
use orchestra_client::Backoff;
use orchestra_contracts::{
    Job, JobStatus, Outcome, Ran, WorkerName,
    files::Artifact,
    worker::{LeaseRef, LogHead},
};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::{Instant, sleep},
};
use tracing::Instrument as _;

pub(crate) use self::report::NextJobs;
use crate::{
    artifacts::{self, LeaseLost},
    control::{Control, Stop},
    executor::{End, Executor, Remains, RunEvent, RunSpec},
    master::{Link, Master},
    outbox::{self, Closed, Outbox, Upload, UploadError},
    refill::SlotRefill,
    trace::{Times, Trace},
    uploads::MasterUploads,
};

/// The capacity for events between executor and outbox: small, because the outbox is the buffer.
const EVENTS: usize = 16;

/// The end of an attempt, before it is reported.
struct Ended {
    end: End,
    /// The artifacts that are stored.
    artifacts: Vec<Artifact>,
    /// What it ran in, if its start was not reported.
    unsaid: Option<Box<Ran>>,
    log: Result<Closed, UploadError>,
}

/// One attempt, the right to run it, and everything that it needs.
pub(crate) struct Attempt {
    pub(crate) master: Arc<dyn Master>,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) link: Arc<Link>,
    pub(crate) worker: WorkerName,
    pub(crate) lease: LeaseRef,
    pub(crate) control: Control,
    pub(crate) refill: Arc<SlotRefill>,
}

impl Attempt {
    /// Runs the attempt from the claim to the accepted report, or to the loss of the lease. Returns
    /// the jobs that the report claimed.
    pub(crate) async fn run(&self, job: Job) -> NextJobs {
        let of_log = Trace::of_log(&job);
        self.begin(job).instrument(of_log).await
    }

    async fn begin(&self, job: Job) -> NextJobs {
        let trace = Trace::begin(&job, &self.lease, &self.worker);
        tracing::info!(job = %job.id, attempt = %self.lease.attempt, "claimed");
        let (events, arriving) = mpsc::channel(EVENTS);
        let working = self.executor.run(self.spec(job), self.control.subscribe(), events);
        let ended = self.carry_out(working, arriving, LogHead::default(), true, &trace).await;
        self.conclude(ended, trace).await
    }

    /// Resumes an attempt that an earlier process began.
    pub(crate) async fn resume(&self, job: Job, remains: Box<dyn Remains>) -> NextJobs {
        let of_log = Trace::of_log(&job);
        self.go_on(job, remains).instrument(of_log).await
    }

    async fn go_on(&self, job: Job, remains: Box<dyn Remains>) -> NextJobs {
        let trace = Trace::begin(&job, &self.lease, &self.worker);
        let Some(stored) = self.stored().await else {
            tracing::warn!(job = %job.id, attempt = %self.lease.attempt, "could not be taken back");
            return NextJobs::None;
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
        let uploads = Arc::new(MasterUploads { master, link });
        RunSpec { job: job.id, attempt: self.lease.attempt, element, spec: job.spec, uploads }
    }

    /// How much of the log the master has, which it answers to an empty upload. `None` if the lease
    /// is lost or about to be.
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

    /// Uploads the artifacts, as long as the lease holds.
    async fn keep(&self, end: &mut End, outbox: &Outbox) -> Vec<Artifact> {
        let Some(artifacts) = end.artifacts.take() else { return Vec::new() };
        let uploader = artifacts::ArtifactUploader {
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
            stored = uploader.store(&*artifacts) => stored.unwrap_or_else(|LeaseLost| {
                self.control.stop(Stop::Lost);
                Vec::new()
            }),
        }
    }

    /// The executor's part, stopped when the lease expires.
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
}

/// Forwards frames until the executor has no more; returns the outbox.
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
