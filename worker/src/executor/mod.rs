//! How an attempt is carried out. The rest of the worker sees only this trait;
//! tests have a scripted one.

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
    /// Carries out one attempt. Nothing of it runs any more when this returns,
    /// however it ended; what is left of it stays as long as [`End::kept`]. Follows the orders: renews the sandbox's lease, and
    /// stops as strictly as it is told.
    async fn run(
        &self,
        spec: RunSpec,
        orders: watch::Receiver<Orders>,
        events: mpsc::Sender<RunEvent>,
    ) -> End;

    /// Returns as soon as an attempt could be started now.
    async fn ready(&self);

    /// Why no attempt can be started at the moment, as it changes. Never anything,
    /// unless an executor knows better.
    fn health(&self) -> watch::Receiver<Option<Trouble>> {
        watch::channel(None).1
    }

    /// What jobs may have here, as it changes. Nothing, unless an executor knows better.
    fn offer(&self) -> watch::Receiver<Option<Offer>> {
        watch::channel(None).1
    }

    /// What is worth knowing for whoever looks after workers. Nothing, unless an executor knows.
    fn stats(&self) -> Stats {
        Stats::default()
    }

    /// Looks for what an earlier process of this worker left of an attempt.
    async fn left_of(&self, job: JobId, attempt: AttemptNo) -> Left;

    /// Removes what earlier processes of this worker left, now and from now on.
    /// What [`Executor::left_of`] has found stays.
    async fn tidy(&self);

    /// Returns when everything that was put off is done.
    async fn close(&self);
}

/// What keeps a worker from starting attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub since: Instant,
    /// A sentence for people.
    pub reason: String,
}

/// What is left of an attempt whose worker went away.
pub enum Left {
    /// Its process is dead, so it is ours to carry on.
    Ours(Box<dyn Remains>),
    /// Another process of this worker's name has it, or nobody can tell.
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

/// An attempt that an earlier process of this worker began. Dropped, it is removed.
#[async_trait]
pub trait Remains: Send {
    /// Like [`Executor::run`] from the middle on: what is `stored` of its log is
    /// not said again.
    async fn resume(
        self: Box<Self>,
        spec: RunSpec,
        stored: LogHead,
        orders: watch::Receiver<Orders>,
        events: mpsc::Sender<RunEvent>,
    ) -> End;
}

/// One attempt to carry out.
#[derive(Clone)]
pub struct RunSpec {
    pub job: JobId,
    pub attempt: AttemptNo,
    /// The id of its array and its index in there, where it is of one.
    pub element: Option<(JobId, u32)>,
    pub spec: JobSpec,
    /// Where files come from that its spec only names.
    pub(crate) uploads: Arc<dyn UploadSource>,
}

impl fmt::Debug for RunSpec {
    /// Without the spec: it may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunSpec({}, attempt {})", self.job, self.attempt)
    }
}

/// What happens while an attempt runs.
#[derive(Clone, Debug, PartialEq)]
pub enum RunEvent {
    /// There is a container for the command; before [`RunEvent::Started`].
    Made(Box<Ran>),
    /// The command runs.
    Started,
    Frame(Frame),
}

impl RunEvent {
    /// Something that Orchestra itself has to say, now.
    pub(crate) fn note(text: impl AsRef<str>) -> Self {
        Self::note_at(clock::wall_micros(), text)
    }

    pub(crate) fn note_at(time: u64, text: impl AsRef<str>) -> Self {
        Self::Frame(line_at(time, text.as_ref()))
    }
}

/// Something that Orchestra itself has to say in a job's log.
pub(crate) fn line_at(time: u64, text: &str) -> Frame {
    let mut line = text.trim_end_matches('\n').to_owned();
    line.push('\n');
    Frame { time, body: Body::Bytes(Stream::System, line.into()) }
}

/// How an attempt ended. [`Outcome::Lost`] is not reported: its lease ran out.
#[derive(Debug)]
pub struct End {
    pub outcome: Outcome,
    pub usage: Option<Usage>,
    /// What its command did to the files in its working folder, where that is known.
    pub changes: Option<Box<Changes>>,
    /// The files that it leaves to be kept, if any were asked for.
    pub artifacts: Option<Box<dyn ArtifactSource>>,
    pub kept: Kept,
}

/// What tells of an end that the master has not heard of: the next process of this
/// worker finds it there. Dropped when the end is reported, it goes.
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
