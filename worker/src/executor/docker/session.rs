//! A started sandbox, PID 1 of one container.
//!
//! [`Sandbox::start`] returns a sandbox that has said `Ready` and holds no job yet; it may wait in
//! that state. [`Sandbox::hand_over`] gives it a job, and [`Sandbox::run`] consumes it.
//! [`Sandbox::found`] wraps a sandbox that an earlier process started. The conversation while the
//! job runs is in `converse`.

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

/// A sandbox normally says `Ready` a millisecond after the engine has started its container.
const READY: Duration = Duration::from_secs(30);
/// A sandbox that has not ended its job this long after it should have is stuck.
pub(super) const SLACK: Duration = Duration::from_secs(10);
/// A sandbox normally says `Started` two milliseconds after it gets its job. A found sandbox that
/// has not said it within this time never got its job.
pub(super) const STARTED: Duration = Duration::from_secs(10);

/// A sandbox normally confirms its job within a millisecond or two. One that stays silent for this
/// long may still run it.
const TAKES: Duration = Duration::from_secs(2);

/// Time limit for the sandbox to remove one file.
const CALLED_OFF: Duration = Duration::from_secs(2);

/// Tolerance between the engine's start time of a container and the sandbox's own.
const WALL: Duration = Duration::from_secs(2);

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The container was created but did not become a sandbox.
    #[error("{0}")]
    Sandbox(String),
}

impl StartError {
    /// Whether something that existed before is gone. It can be made again.
    pub(super) fn is_of_what_went(&self) -> bool {
        matches!(self, Self::Engine(EngineError::Refused(_) | EngineError::NotFound(_)))
    }
}

/// A sandbox whose PID 1 has started. Its job comes with [`Sandbox::hand_over`].
pub(super) struct Sandbox {
    pub(super) container: Container,
    pub(super) input: Input,
    pub(super) event_stream: EventStream,
    pub(super) clock: SandboxClock,
    /// What comes before this point was already sent to the master by an earlier process.
    pub(super) resume_point: ResumePoint,
    /// The end of the latest lease that the sandbox was told of. It ends its job by then, even if
    /// nobody can reach it.
    pub(super) fence: Instant,
    /// Whether worker and sandbox share one boot clock, see `boot`.
    pub(super) shares_clock: bool,
    /// Whether the job was handed over and the shell runs.
    pub(super) started: bool,
    /// Whether a command could not be sent on the present stream.
    pub(super) deaf: bool,
    pub(super) breaks: Breaks,
    pub(super) folder: FolderReport,
    /// The user that its job runs as.
    pub(super) user: JobUser,
    pub(super) made: Made,
}

/// Whether a sandbox was made for a known job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// Made for its job; the container is named after the job.
    ForItsJob,
    /// Made before its job was known; the container's name says so.
    Ahead,
}

/// The first events of a sandbox, in this order.
#[derive(Clone, Copy)]
enum Word {
    Ready,
    Taken,
    Started,
}

/// Time limits of a job.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) timeout: Duration,
    /// Time between SIGTERM and SIGKILL.
    pub(super) grace: Duration,
}

impl Sandbox {
    /// Starts a container that was created from the request in `create.rs`. Attaches before the
    /// start, so that no output is missed.
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

    /// Wraps a sandbox that began at `began` (wall time, microseconds) and ends at `fence` unless
    /// it is renewed. `output` replays everything that it ever said, from its first frame on.
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

    /// Reads the first events of a found sandbox and learns whether it has its job. Nothing may be
    /// sent to it before that: it might land in the middle of the last message that was sent.
    pub(super) async fn hear_beginning(
        &mut self,
        events: &mpsc::Sender<RunEvent>,
    ) -> Result<(), Outcome> {
        for word in [Word::Ready, Word::Taken, Word::Started] {
            match (word, timeout(STARTED, self.hear()).await) {
                (Word::Ready, Ok(Ok(Event::Ready(ready)))) if ready.version == VERSION => {
                    // Calculated by the wall clock. If that was set since, the boot clock counts as
                    // not shared.
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

    /// The next event. Attaches again to a stream that breaks. The error is the outcome of a
    /// sandbox that ended without a last word.
    async fn hear(&mut self) -> Result<Event, Outcome> {
        loop {
            match self.event_stream.next().await {
                Ok(event) => return Ok(event),
                Err(end) => self.pick_up(end).await?,
            }
        }
    }

    /// Hands over the job, with the files that its spec contains. For a sandbox that was made
    /// ahead, the answer is whether it took the job. If it did not, it is gone and nothing of the
    /// job has begun.
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

    /// Whether it took the job that was just sent. If that is unknown the answer is `true`, because
    /// the job may run; the caller finds out in the conversation that follows.
    async fn takes(&mut self, mut orders: watch::Receiver<Orders>) -> bool {
        let heard = tokio::select! {
            biased;
            heard = timeout(TAKES, self.event_stream.next()) => heard,
            () = stopped(&mut orders, Stop::Cancel) => return true,
        };
        match heard {
            Ok(Err(StreamEnd::Ended(_))) => !taken::has_gone_without(&self.container).await,
            // It did not understand the job.
            Ok(Ok(Event::Failed(_))) => false,
            Ok(Ok(_) | Err(StreamEnd::Garbled(_))) | Err(_) => true,
        }
    }

    /// Sends the job's other files, then stays until the job has ended.
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

    /// Calls the job off before it has begun. The sandbox removes any file that it has received in
    /// part, and confirms that with its last message. A sandbox that does not listen leaves a
    /// partial file beside its destination.
    async fn call_off(&mut self) {
        if self.say(&Command::Kill).await {
            let _ = timeout(CALLED_OFF, self.event_stream.next()).await;
        }
    }

    /// Sends a command, and answers whether that worked. A failure here needs no handling: the last
    /// output of a sandbox that is gone explains it.
    pub(super) async fn say(&mut self, command: &Command) -> bool {
        self.say_all(std::slice::from_ref(command)).await
    }

    /// Sends the commands back to back in one write.
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

    /// Ends the sandbox. When this returns, nothing of the job runs any more: either the container
    /// is gone, or, where the engine could not remove it, PID 1 has ended the job at the end of its
    /// lease.
    pub(super) async fn kill(self, outcome: Outcome) -> End {
        let Self { container, input, event_stream, fence, .. } = self;
        // The engine does not notice a container's end while it still has output for it, and it
        // passes no output to a reader that does not read. While the log is blocked, that reader is
        // this one.
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
