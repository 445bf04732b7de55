//! A started sandbox, and the conversation with its PID 1.
//!
//! [`Sandbox::start`] answers one that has said `Ready` and holds no job yet;
//! [`Sandbox::run`] consumes it. Between the two it may wait. One that an earlier
//! process began with comes from [`Sandbox::found`].

use std::time::Duration;

use bytes::Bytes;
use orchestra_contracts::{
    Outcome,
    frame::{Body, Frame, Stream as LogStream},
};
use orchestra_sandbox::protocol::{
    Command, Event, Exit, Message, Run, Stream as SandboxStream, VERSION,
};
use tokio::{
    io::AsyncWriteExt,
    sync::{mpsc, watch},
    time::{Instant, timeout, timeout_at},
};

use super::{
    container::Container,
    ending,
    engine::{Attached, EngineError, Input, Output},
    said::Said,
    seam::Seam,
};
use crate::{
    clock::{self, SandboxClock},
    control::{Orders, Stop},
    executor::{End, RunEvent},
};

/// From the engine's "started" to the sandbox's `Ready` it takes a millisecond.
const READY: Duration = Duration::from_secs(30);
/// A sandbox that has not ended its job so long after it should have is stuck.
const SLACK: Duration = Duration::from_secs(10);
/// From the job to the sandbox's `Started` it takes two milliseconds. One that was
/// found and has not said it by then has never got its job.
const STARTED: Duration = Duration::from_secs(10);

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The container was made and did not become a sandbox.
    #[error("{0}")]
    Sandbox(String),
}

/// PID 1 is ready, and no job was handed over.
pub(super) struct Sandbox {
    container: Container,
    input: Input,
    said: Said,
    clock: SandboxClock,
    /// What is before it was said to the master by an earlier process.
    seam: Seam,
}

/// How long a job may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) timeout: Duration,
    /// Between SIGTERM and SIGKILL.
    pub(super) grace: Duration,
}

/// How one turn of the conversation went.
enum Turn {
    Orders(Orders),
    Exited(Exit),
    /// The shell could not be started.
    Failed(String),
    /// The stream ended, or what came is no frame.
    Silence(String),
    /// It should have ended by now.
    Overdue,
}

impl Sandbox {
    /// Starts a container that was created from `create.rs`'s request. It is
    /// attached to before it is started, so that nothing it says is missed.
    pub(super) async fn start(container: Container) -> Result<Self, StartError> {
        let engine = container.engine();
        let Attached { output, input } = engine.attach(container.name()).await?;
        engine.start(container.name()).await?;
        let mut said = Said::new(output);
        let ready = timeout(READY, said.next()).await;
        let clock = SandboxClock::heard_at(clock::wall_micros());
        match ready {
            Ok(Ok(Event::Ready { version: VERSION })) => {
                Ok(Self { container, input, said, clock, seam: Seam::default() })
            }
            Ok(Ok(event)) => Err(StartError::Sandbox(format!("its sandbox began with {event:?}"))),
            Ok(Err(silence)) => {
                let end = ending::after_silence(&container, &silence, &said.complaints).await;
                Err(StartError::Sandbox(end))
            }
            Err(_) => Err(StartError::Sandbox("its sandbox did not get ready".to_owned())),
        }
    }

    /// One that began at `began` (wall time, microseconds). `output` is all that it
    /// ever said, from its first frame on.
    pub(super) fn found(
        container: Container,
        (output, input): (Output, Input),
        began: u64,
        seam: Seam,
    ) -> Self {
        let (said, clock) = (Said::new(output), SandboxClock::heard_at(began));
        Self { container, input, said, clock, seam }
    }

    /// Of one that was found: whether it has its job. Nothing may be said to it
    /// before that, for it could stand in the middle of what was said last.
    pub(super) async fn hear_beginning(
        &mut self,
        events: &mpsc::Sender<RunEvent>,
    ) -> Result<(), Outcome> {
        for first in [true, false] {
            match (first, timeout(STARTED, self.said.next()).await) {
                (true, Ok(Ok(Event::Ready { version: VERSION }))) => (),
                (false, Ok(Ok(Event::Started))) => {
                    // The receiver outlives the attempt.
                    let _ = events.send(RunEvent::Started).await;
                }
                (false, Ok(Ok(Event::Failed(reason)))) => return Err(Outcome::Refused { reason }),
                (_, Ok(Ok(_))) => {
                    let reason =
                        "it cannot be taken back: the beginning of what it said is missing";
                    return Err(Outcome::CouldNotStart { reason: reason.to_owned() });
                }
                (_, Ok(Err(silence))) => {
                    let container = &self.container;
                    return Err(
                        ending::of_silence(container, &silence, &self.said.complaints).await
                    );
                }
                (_, Err(_)) => {
                    let reason = "it was never told what to run".to_owned();
                    return Err(Outcome::CouldNotStart { reason });
                }
            }
        }
        Ok(())
    }

    /// Hands the job over and stays until it has ended.
    pub(super) async fn run(
        mut self,
        job: Run,
        orders: watch::Receiver<Orders>,
        events: mpsc::Sender<RunEvent>,
    ) -> End {
        let limits = Limits { timeout: job.timeout, grace: job.grace };
        self.say(&Command::Run(Box::new(job))).await;
        self.converse(limits, orders, events).await
    }

    /// Stays until the job has ended. The container goes in every case; where the
    /// job may still run in it, before this returns.
    pub(super) async fn converse(
        mut self,
        Limits { timeout, grace }: Limits,
        mut orders: watch::Receiver<Orders>,
        events: mpsc::Sender<RunEvent>,
    ) -> End {
        let mut overdue = Instant::now() + timeout + grace + SLACK;
        let mut cancelled = false;
        orders.mark_changed();
        loop {
            match self.turn(&mut orders, &events, overdue).await {
                Turn::Orders(Orders { stop: stop @ (None | Some(Stop::Cancel)), until }) => {
                    let ttl = until.saturating_duration_since(Instant::now());
                    self.say(&Command::Renew(ttl)).await;
                    if stop.is_some() && !std::mem::replace(&mut cancelled, true) {
                        overdue = overdue.min(Instant::now() + grace + SLACK);
                        self.say(&Command::Terminate { grace }).await;
                    }
                }
                Turn::Orders(Orders { stop: Some(Stop::HandBack), .. }) => {
                    return self.kill(Outcome::HandedBack).await;
                }
                Turn::Orders(Orders { stop: Some(Stop::Lost), .. }) => {
                    return self.kill(Outcome::Lost).await;
                }
                Turn::Exited(_) if !self.seam.is_reached() => {
                    let reason = "it cannot be taken back: a part of what it said is missing";
                    return self.kill(Outcome::CouldNotStart { reason: reason.to_owned() }).await;
                }
                Turn::Exited(exit) => {
                    let end = ending::of_exit(&self.container, &exit).await;
                    // Its processes are gone already; the container follows by itself.
                    drop(self.container);
                    return end;
                }
                Turn::Failed(reason) => return Outcome::Refused { reason }.into(),
                Turn::Overdue => {
                    let outcome = if cancelled { Outcome::Cancelled } else { Outcome::TimedOut };
                    return self.kill(outcome).await;
                }
                Turn::Silence(silence) => {
                    let outcome =
                        ending::of_silence(&self.container, &silence, &self.said.complaints).await;
                    return self.kill(outcome).await;
                }
            }
        }
    }

    /// Waits for whatever comes first. Output is only read when there is room to
    /// pass it on: that is how back-pressure reaches the command. Meanwhile the
    /// sandbox cannot be overdue, for its last word may wait behind that output.
    async fn turn(
        &mut self,
        orders: &mut watch::Receiver<Orders>,
        events: &mpsc::Sender<RunEvent>,
        overdue: Instant,
    ) -> Turn {
        let (said, clock, seam) = (&mut self.said, &mut self.clock, &mut self.seam);
        let listen = async {
            loop {
                // The receiver outlives the attempt.
                let Ok(room) = events.reserve().await else { return Turn::Silence(String::new()) };
                match timeout_at(overdue, said.next()).await {
                    Err(_) => return Turn::Overdue,
                    Ok(Err(silence)) => return Turn::Silence(silence),
                    Ok(Ok(event)) => match to_run_event(event, clock) {
                        Ok(RunEvent::Frame(frame)) => {
                            if let Some(frame) = seam.rest_of(frame) {
                                room.send(RunEvent::Frame(frame));
                            }
                        }
                        Ok(event) => room.send(event),
                        Err(turn) => return turn,
                    },
                }
            }
        };
        tokio::select! {
            biased;
            changed = orders.changed() => {
                if changed.is_err() {
                    return Turn::Silence("nobody answers for the attempt any more".to_owned());
                }
                Turn::Orders(*orders.borrow_and_update())
            }
            turn = listen => turn,
        }
    }

    /// What cannot be said to a sandbox that has gone shows in what it says last.
    async fn say(&mut self, command: &Command) {
        let mut frame = Vec::new();
        command.encode(&mut frame);
        let write = async {
            self.input.write_all(&frame).await?;
            self.input.flush().await
        };
        match timeout(SLACK, write).await {
            Ok(Ok(())) => (),
            Ok(Err(error)) => tracing::debug!("could not speak to a sandbox: {error}"),
            Err(_) => {
                tracing::warn!(container = self.container.name(), "a sandbox does not listen");
            }
        }
    }

    pub(super) async fn kill(self, outcome: Outcome) -> End {
        self.container.remove().await;
        outcome.into()
    }
}

/// What happens while the job runs is passed on; the rest ends the turn.
fn to_run_event(event: Event, clock: &mut SandboxClock) -> Result<RunEvent, Turn> {
    let mut time = |at| clock.wall(at, clock::wall_micros());
    let frame = |time, body| Ok(RunEvent::Frame(Frame { time, body }));
    match event {
        Event::Started => Ok(RunEvent::Started),
        Event::Output { stream, at, bytes } => {
            let stream = match stream {
                SandboxStream::Stdout => LogStream::Stdout,
                SandboxStream::Stderr => LogStream::Stderr,
            };
            frame(time(at), Body::Bytes(stream, Bytes::from(bytes)))
        }
        Event::Gap { at, bytes } => frame(time(at), Body::Gap(bytes)),
        Event::Note { at, text } => Ok(RunEvent::note_at(time(at), text)),
        Event::Exited(exit) => Err(Turn::Exited(exit)),
        Event::Failed(reason) => Err(Turn::Failed(reason)),
        Event::Ready { .. } => Err(Turn::Silence("its sandbox began anew".to_owned())),
    }
}
