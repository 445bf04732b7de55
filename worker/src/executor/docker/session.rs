//! A started sandbox, PID 1 of one container.
//!
//! [`Sandbox::start`] answers one that has said `Ready` and holds no job yet;
//! [`Sandbox::hand_over`] gives it one, before which it may wait; [`Sandbox::run`] consumes it. One that an earlier
//! process began with comes from [`Sandbox::found`]. What is said while the job
//! runs stands in `converse`.

use std::time::Duration;

use orchestra_contracts::Outcome;
use orchestra_sandbox::protocol::{Command, Event, Message, Run, VERSION};
use tokio::{
    io::AsyncWriteExt,
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout, timeout_at},
};

use super::{
    artifacts::FolderReport,
    boot,
    container::Container,
    deliver,
    engine::{Attached, EngineError, Input, Output},
    event_stream::{EventStream, StreamEnd},
    name,
    reattach::Breaks,
    resume_point::ResumePoint,
    taken,
};
use crate::{
    clock::{self, SandboxClock},
    config::JobUser,
    control::{Orders, Stop, stopped},
    executor::{End, RunEvent, RunSpec},
};

/// From the engine's "started" to the sandbox's `Ready` it takes a millisecond.
const READY: Duration = Duration::from_secs(30);
/// A sandbox that has not ended its job so long after it should have is stuck.
pub(super) const SLACK: Duration = Duration::from_secs(10);
/// From the job to the sandbox's `Started` it takes two milliseconds. One that was
/// found and has not said it by then has never got its job.
pub(super) const STARTED: Duration = Duration::from_secs(10);

/// Within a millisecond or two a sandbox says that it has its job. What has not been heard of by
/// then may run it.
const TAKES: Duration = Duration::from_secs(2);

/// For the removal of one file.
const CALLED_OFF: Duration = Duration::from_secs(2);

/// Of the engine's word when a container started, as against the sandbox's own.
const WALL: Duration = Duration::from_secs(2);

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The container was made and did not become a sandbox.
    #[error("{0}")]
    Sandbox(String),
}

impl StartError {
    /// Something is not there any more that was there before. It can be made again.
    pub(super) fn is_of_what_went(&self) -> bool {
        matches!(self, Self::Engine(EngineError::Refused(_) | EngineError::NotFound(_)))
    }
}

/// PID 1 is ready, and no job was handed over.
pub(super) struct Sandbox {
    pub(super) container: Container,
    pub(super) input: Input,
    pub(super) event_stream: EventStream,
    pub(super) clock: SandboxClock,
    /// What is before it was said to the master by an earlier process.
    pub(super) resume_point: ResumePoint,
    /// It ends its job by then, whoever can still speak to it: the end of the lease
    /// that it was told of last.
    pub(super) fence: Instant,
    /// Whether both count time from the boot of one machine, see `boot`.
    pub(super) shares_clock: bool,
    /// Whether the job was handed over, and the shell runs.
    pub(super) started: bool,
    /// Whether something could not be said to it on the present stream.
    pub(super) deaf: bool,
    pub(super) breaks: Breaks,
    pub(super) folder: FolderReport,
    /// As whom its job runs.
    pub(super) user: JobUser,
    pub(super) made: Made,
}

/// What for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// The container is called after it.
    ForItsJob,
    /// Before that was known; the container is called so.
    Ahead,
}

/// What a sandbox says first, in this order.
#[derive(Clone, Copy)]
enum Word {
    Ready,
    Taken,
    Started,
}

/// How long a job may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) timeout: Duration,
    /// Between SIGTERM and SIGKILL.
    pub(super) grace: Duration,
}

impl Sandbox {
    /// Starts a container that was created from `create.rs`'s request. It is
    /// attached to before it is started, so that nothing it says is missed.
    pub(super) async fn start(container: Container, user: JobUser) -> Result<Self, StartError> {
        let (engine, name) = (container.engine(), container.name());
        let Attached { output, input } = engine.with_retries(|| engine.attach(name)).await?;
        let starting = boot::now();
        engine.with_retries(|| engine.start(name)).await?;
        let now = Instant::now();
        let clock = SandboxClock::heard_at(clock::wall_micros());
        let mut sandbox = Self {
            container,
            input,
            event_stream: EventStream::new(output),
            clock,
            resume_point: ResumePoint::default(),
            fence: now + READY,
            shares_clock: false,
            started: false,
            deaf: false,
            breaks: Breaks::default(),
            folder: FolderReport::default(),
            user,
            made: Made::ForItsJob,
        };
        match timeout_at(now + READY, sandbox.hear()).await {
            Ok(Ok(Event::Ready(ready))) if ready.version == VERSION => {
                sandbox.shares_clock = boot::is_shared(&ready, starting, boot::now());
                sandbox.clock = SandboxClock::heard_at(clock::wall_micros());
                Ok(sandbox)
            }
            Ok(Ok(event)) => Err(StartError::Sandbox(format!("its sandbox began with {event:?}"))),
            Ok(Err(Outcome::CouldNotStart { reason })) => Err(StartError::Sandbox(reason)),
            Ok(Err(outcome)) => Err(StartError::Sandbox(outcome.to_string())),
            Err(_) => Err(StartError::Sandbox("its sandbox did not get ready".to_owned())),
        }
    }

    /// One that began at `began` (wall time, microseconds), and ends at `fence` unless
    /// it is told otherwise. `output` is all that it ever said, from its first frame on.
    pub(super) fn found(
        (container, user): (Container, JobUser),
        (output, input): (Output, Input),
        (began, fence): (u64, Instant),
        resume_point: ResumePoint,
    ) -> Self {
        let (event_stream, clock) = (EventStream::new(output), SandboxClock::heard_at(began));
        let (shares_clock, started, deaf) = (false, false, false);
        let (breaks, folder) = (Breaks::default(), FolderReport::default());
        Self {
            container,
            input,
            event_stream,
            clock,
            resume_point,
            fence,
            shares_clock,
            started,
            deaf,
            breaks,
            folder,
            user,
            made: Made::ForItsJob,
        }
    }

    /// Of one that was found: whether it has its job. Nothing may be said to it
    /// before that, for it could stand in the middle of what was said last.
    pub(super) async fn hear_beginning(
        &mut self,
        events: &mpsc::Sender<RunEvent>,
    ) -> Result<(), Outcome> {
        for word in [Word::Ready, Word::Taken, Word::Started] {
            match (word, timeout(STARTED, self.hear()).await) {
                (Word::Ready, Ok(Ok(Event::Ready(ready)))) if ready.version == VERSION => {
                    // By the wall clock, which may have been set since: then it is not shared.
                    let age = clock::wall_micros().saturating_sub(self.clock.zero());
                    let said =
                        boot::now().map(|now| now.saturating_sub(Duration::from_micros(age)));
                    let earliest = said.map(|said| said.saturating_sub(WALL));
                    self.shares_clock =
                        boot::is_shared(&ready, earliest, said.map(|said| said + WALL));
                }
                (Word::Taken, Ok(Ok(Event::Taken(_)))) => {}
                (Word::Started, Ok(Ok(Event::Started))) => {
                    self.started = true;
                    // The receiver outlives the attempt.
                    let _ = events.send(RunEvent::Started).await;
                }
                (Word::Taken | Word::Started, Ok(Ok(Event::Failed(reason)))) => {
                    return Err(Outcome::Refused { reason });
                }
                (_, Ok(Ok(_))) => {
                    let reason =
                        "it cannot be taken back: the beginning of what it said is missing";
                    return Err(Outcome::CouldNotStart { reason: reason.to_owned() });
                }
                (_, Ok(Err(outcome))) => return Err(outcome),
                (_, Err(_)) => return Err(never_told()),
            }
        }
        Ok(())
    }

    /// The next event. A stream that breaks is picked up again; the error is how the
    /// sandbox ended, when it did without a word.
    async fn hear(&mut self) -> Result<Event, Outcome> {
        loop {
            match self.event_stream.next().await {
                Ok(event) => return Ok(event),
                Err(end) => self.pick_up(end).await?,
            }
        }
    }

    /// Hands the job over, with the files that stand in its spec. Of a sandbox that waited:
    /// whether it has it. One that has not has gone, and nothing of the job has begun.
    pub(super) async fn hand_over(
        &mut self,
        spec: &RunSpec,
        mut job: Run,
        orders: watch::Receiver<Orders>,
    ) -> bool {
        self.fence = Instant::now() + job.lease.ttl;
        job.lease = boot::lease(self.fence, self.shares_clock);
        let run = [Command::Run(Box::new(job))].into_iter();
        let commands: Vec<_> = run.chain(deliver::inline(&spec.spec.files)).collect();
        self.say_all(&commands).await;
        if self.made == Made::ForItsJob {
            return true;
        }
        let taken = self.takes(orders).await;
        if taken {
            self.container.rename_beside(name::of_attempt(spec.job, spec.attempt));
        }
        taken
    }

    /// Whether it has the job that it was told just now. Where nobody knows it may run: who
    /// stays with it will see.
    async fn takes(&mut self, mut orders: watch::Receiver<Orders>) -> bool {
        let heard = tokio::select! {
            biased;
            heard = timeout(TAKES, self.event_stream.next()) => heard,
            () = stopped(&mut orders, Stop::Cancel) => return true,
        };
        match heard {
            Ok(Err(StreamEnd::Ended(_))) => !taken::has_gone_without(&self.container).await,
            // It understood no word.
            Ok(Ok(Event::Failed(_))) => false,
            Ok(Ok(_) | Err(StreamEnd::Garbled(_))) | Err(_) => true,
        }
    }

    /// Hands over the job's other files, and stays until it has ended.
    pub(super) async fn run(
        mut self,
        spec: &RunSpec,
        limits: Limits,
        mut orders: watch::Receiver<Orders>,
        events: mpsc::Sender<RunEvent>,
    ) -> End {
        if let Err(outcome) = self.deliver(spec, &mut orders).await {
            self.call_off().await;
            return self.kill(outcome).await;
        }
        self.converse(limits, orders, events).await
    }

    /// Before its job has begun: it takes back what it has of the files that were on their way,
    /// and says so with its last word. One that does not listen leaves a part of one beside
    /// its place.
    async fn call_off(&mut self) {
        if self.say(&Command::Kill).await {
            let _ = timeout(CALLED_OFF, self.event_stream.next()).await;
        }
    }

    /// Whether it could be said. What cannot be said to a sandbox that has gone shows
    /// in what it says last.
    pub(super) async fn say(&mut self, command: &Command) -> bool {
        self.say_all(std::slice::from_ref(command)).await
    }

    /// One after the other, without a pause between them.
    async fn say_all(&mut self, commands: &[Command]) -> bool {
        let mut frames = Vec::new();
        for command in commands {
            command.encode(&mut frames);
        }
        let write = async {
            self.input.write_all(&frames).await?;
            self.input.flush().await
        };
        let heard = match timeout(SLACK, write).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::debug!("could not speak to a sandbox: {error}");
                false
            }
            Err(_) => {
                tracing::warn!(container = self.container.name(), "a sandbox does not listen");
                false
            }
        };
        self.deaf |= !heard;
        heard
    }

    /// Nothing of it runs any more when this returns: the container is gone, or, where
    /// the engine does not get that done, PID 1 has ended the job at its lease's end.
    pub(super) async fn kill(self, outcome: Outcome) -> End {
        let Self { container, input, event_stream, fence, .. } = self;
        // An engine does not see the end of what it still has output of, and hands nothing
        // over to a reader that stands still. Where the log is held up, that is this one.
        drop((input, event_stream));
        let fenced = fence + SLACK;
        if timeout_at(fenced, container.remove()).await != Ok(true) {
            sleep_until(fenced).await;
        }
        outcome.into()
    }
}

pub(super) fn never_told() -> Outcome {
    Outcome::CouldNotStart { reason: "it was never told what to run".to_owned() }
}
