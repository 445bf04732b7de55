//! The [`Executor`] trait, which runs attempts. The rest of the worker sees only this trait; tests
//! use a scripted implementation.

pub(crate) mod artifacts;
pub(crate) mod docker;
pub(crate) mod uploads;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use orchestra_contracts::{
    AttemptNo, JobId, JobSpec, Outcome, Ran, Usage,
    files::Changes,
    frame::{Body, Frame, Stream},
    worker::{LogHead, Offer, Stats},
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use self::{artifacts::ArtifactSource, uploads::UploadSource};
use crate::{clock, control::Orders};

/// Runs attempts, each in a sandbox of its own.
#[async_trait]
pub trait Executor: Send + Sync + 'static {
    /// Runs one attempt and follows its `orders`: it renews the sandbox's lease, and stops the
    /// attempt as strictly as ordered.
    ///
    /// When this returns, nothing of the attempt is running any more, however it ended. What
    /// remains of it stays until [`End::kept`] is dropped.
    async fn run(
        &self,
        spec: RunSpec,
        orders: watch::Receiver<Orders>,
        events: mpsc::Sender<RunEvent>,
    ) -> End;

    /// Returns as soon as an attempt could start.
    async fn ready(&self);

    /// Why no attempt can start at the moment, updated as it changes. By default always `None`.
    fn health(&self) -> watch::Receiver<Option<Trouble>> {
        watch::channel(None).1
    }

    /// What this worker offers to jobs, updated as it changes. By default `None`.
    fn offer(&self) -> watch::Receiver<Option<Offer>> {
        watch::channel(None).1
    }

    /// Facts about this worker for its operator. By default empty.
    fn stats(&self) -> Stats {
        Stats::default()
    }

    /// Looks for what an earlier process of this worker left of an attempt.
    async fn left_of(&self, job: JobId, attempt: AttemptNo) -> Left;

    /// Removes what earlier processes of this worker left, now and from now on. What
    /// [`Executor::left_of`] has found stays.
    async fn tidy(&self);

    /// Returns when all deferred work is done.
    async fn close(&self);
}

/// Why a worker cannot start attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub since: Instant,
    /// A sentence for people.
    pub reason: String,
}

/// What is left of an attempt whose worker process went away.
pub enum Left {
    /// Its process is dead, so this process may continue it.
    Ours(Box<dyn Remains>),
    /// Another process with this worker's name holds it, or its state is unknown.
    NotOurs,
    Nothing,
}

impl fmt::Debug for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ours(_) => "Ours",
            Self::NotOurs => "NotOurs",
            Self::Nothing => "Nothing",
        })
    }
}

/// An attempt that an earlier process of this worker began. Dropping it removes it.
#[async_trait]
pub trait Remains: Send {
    /// Continues the attempt, like the second half of [`Executor::run`]. The part of its log that
    /// is already `stored` is not sent again.
    async fn resume(
        self: Box<Self>,
        spec: RunSpec,
        stored: LogHead,
        orders: watch::Receiver<Orders>,
        events: mpsc::Sender<RunEvent>,
    ) -> End;
}

/// One attempt to run.
#[derive(Clone)]
pub struct RunSpec {
    pub job: JobId,
    pub attempt: AttemptNo,
    /// The id of its job array and its index in it, for an element of an array.
    pub element: Option<(JobId, u32)>,
    pub spec: JobSpec,
    /// Provides the contents of files that the spec only references.
    pub(crate) uploads: Arc<dyn UploadSource>,
}

impl fmt::Debug for RunSpec {
    /// Leaves out the spec, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunSpec({}, attempt {})", self.job, self.attempt)
    }
}

/// What happens while an attempt runs.
#[derive(Clone, Debug, PartialEq)]
pub enum RunEvent {
    /// The container for the command exists. Comes before [`RunEvent::Started`].
    Made(Box<Ran>),
    /// The command runs.
    Started,
    Frame(Frame),
}

impl RunEvent {
    /// A system line from Orchestra itself, stamped with the current time.
    pub(crate) fn note(text: impl AsRef<str>) -> Self {
        Self::note_at(clock::wall_micros(), text)
    }

    pub(crate) fn note_at(time: u64, text: impl AsRef<str>) -> Self {
        Self::Frame(line_at(time, text.as_ref()))
    }
}

/// A system line from Orchestra itself for a job's log. `time` is in microseconds.
pub(crate) fn line_at(time: u64, text: &str) -> Frame {
    let mut line = text.trim_end_matches('\n').to_owned();
    line.push('\n');
    Frame { time, body: Body::Bytes(Stream::System, line.into()) }
}

/// How an attempt ended. [`Outcome::Lost`] is not reported, because the attempt's lease ran out.
#[derive(Debug)]
pub struct End {
    pub outcome: Outcome,
    pub usage: Option<Usage>,
    /// What the command did to the files in its working folder, if known.
    pub changes: Option<Box<Changes>>,
    /// The artifacts to upload, if the job asked for any.
    pub artifacts: Option<Box<dyn ArtifactSource>>,
    pub kept: Kept,
}

/// Keeps the evidence of an end that the master has not confirmed, so that the next process of this
/// worker can find it. Drop it once the end is reported: that removes the evidence.
#[derive(Default)]
pub struct Kept(Option<Box<dyn Send>>);

impl Kept {
    pub fn new(remains: impl Send + 'static) -> Self {
        Self(Some(Box::new(remains)))
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Kept" } else { "Nothing" })
    }
}

impl From<Outcome> for End {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, usage: None, changes: None, artifacts: None, kept: Kept::default() }
    }
}
