//! The conversation with a sandbox whose job runs. Output comes in, renewals and orders go out,
//! until the job has ended.
//!
//! While the engine does not answer, nothing is sent: a renewal stuck in a hung engine would extend
//! a lease that is over by the time it arrives. PID 1 therefore ends the job at the end of its
//! lease, unless the engine comes back first. The attempt is given up shortly after.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use orchestra_contracts::{
    Outcome,
    frame::{Body, Frame, Stream as LogStream},
};
use orchestra_sandbox::protocol::{Command, Event, Exit, Stream as SandboxStream};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use super::{
    boot, ending,
    event_stream::StreamEnd,
    session::{Limits, SLACK, STARTED, Sandbox, never_told},
};
use crate::{
    clock::{self, SandboxClock},
    control::{Orders, Stop, stopped},
    executor::{End, Kept, RunEvent, Trouble},
};

/// After this long without an event, the engine is asked whether the container still runs.
const QUIET: Duration = Duration::from_secs(5);
/// The same after a command that could not be sent.
const SOON: Duration = Duration::from_secs(1);

/// What ended one turn of the conversation.
enum Turn {
    Orders(Orders),
    /// The engine went away or came back.
    Health,
    Exited(Exit),
    /// The shell could not be started.
    Failed(String),
    StreamEnd(StreamEnd),
    /// No event for a while.
    Quiet,
    /// A deadline has passed.
    Overdue,
}

/// The deadlines of a conversation.
struct Times {
    /// By then the sandbox should have ended its job.
    overdue: Instant,
    quiet: Instant,
    /// By then the shell must run, if it was not known to run before.
    started: Option<Instant>,
    /// The engine's trouble, and when the attempt is given up because of it.
    trouble: Option<(Trouble, Instant)>,
}

impl Times {
    fn next(&self) -> Instant {
        let given_up = self.trouble.as_ref().map(|(_, at)| *at);
        [Some(self.overdue), self.started, given_up]
            .into_iter()
            .flatten()
            .min()
            .expect("one is set")
    }

    /// The outcome when a deadline has passed.
    fn outcome(&self, cancelled: bool) -> Outcome {
        let now = Instant::now();
        if now >= self.overdue {
            return if cancelled { Outcome::Cancelled } else { Outcome::TimedOut };
        }
        match &self.trouble {
            Some((trouble, given_up)) if now >= *given_up => ending::of_trouble(&trouble.reason),
            _ => never_told(),
        }
    }
}

impl Sandbox {
    /// Stays until the job has ended. The container is removed in every case: before this returns
    /// if the job may still run in it, otherwise when [`End::kept`] is dropped.
    pub(super) async fn converse(
        mut self,
        Limits { timeout, grace }: Limits,
        mut orders: watch::Receiver<Orders>,
        events: mpsc::Sender<RunEvent>,
    ) -> End {
        let now = Instant::now();
        let mut health = self.container.health().subscribe();
        let mut times = Times {
            overdue: now + timeout + grace + SLACK,
            quiet: now + QUIET,
            started: None,
            trouble: None,
        };
        // Whether a cancel was ordered, and whether the sandbox was told.
        let (mut cancelled, mut told) = (false, false);
        orders.mark_changed();
        health.mark_changed();
        loop {
            let mut strict = orders.clone();
            let turn = self.turn(&mut orders, &mut health, &events, &mut times).await;
            let end = match turn {
                Turn::Orders(Orders { stop: stop @ (None | Some(Stop::Cancel)), until }) => {
                    if stop.is_some() && !std::mem::replace(&mut cancelled, true) {
                        times.overdue = times.overdue.min(Instant::now() + grace + SLACK);
                    }
                    if times.trouble.is_none() && times.started.is_none() {
                        let say = async {
                            self.renew(until).await
                                && (!cancelled
                                    || told
                                    || self.say(&Command::Terminate { grace }).await)
                        };
                        // A sandbox that does not listen must not delay its own end.
                        let heard = tokio::select! {
                            heard = say => heard,
                            () = stopped(&mut strict, Stop::HandBack) => continue,
                        };
                        told |= cancelled && heard;
                        if !heard {
                            times.quiet = times.quiet.min(Instant::now() + SOON);
                        }
                    }
                    continue;
                }
                Turn::Orders(Orders { stop: Some(Stop::HandBack), .. }) => {
                    return self.kill(Outcome::HandedBack).await;
                }
                Turn::Orders(Orders { stop: Some(Stop::Lost), .. }) => {
                    return self.kill(Outcome::Lost).await;
                }
                Turn::Health => {
                    let given_up = self.fence + SLACK;
                    let trouble = health.borrow_and_update().clone();
                    times.trouble = trouble.map(|trouble| (trouble, given_up));
                    // Send what was held back during the trouble.
                    orders.mark_changed();
                    continue;
                }
                Turn::Exited(_) if !self.resume_point.is_reached() => {
                    let reason = "it cannot be taken back: a part of what it said is missing";
                    return self.kill(Outcome::CouldNotStart { reason: reason.to_owned() }).await;
                }
                Turn::Exited(exit) => {
                    let renewed = orders.borrow().until > Instant::now();
                    let end = ending::of_exit(&self.container, &exit, renewed).await;
                    // Its processes are gone. Its last output and its files stay readable until the
                    // master has the report.
                    let container = Arc::new(self.container);
                    let changes = self.folder.changes();
                    let artifacts = self.folder.artifacts(container.clone(), self.user);
                    return End { changes, artifacts, kept: Kept::new(container), ..end };
                }
                Turn::Failed(reason) => return Outcome::Refused { reason }.into(),
                Turn::Overdue => {
                    let outcome = times.outcome(cancelled);
                    return self.kill(outcome).await;
                }
                Turn::Quiet => {
                    times.quiet = Instant::now() + QUIET;
                    // An engine that still has output for a reader that does not read neither
                    // notices the container's end nor answers.
                    tokio::select! {
                        looked = self.look_after() => match looked {
                            None => continue,
                            Some(end) => end,
                        },
                        () = stopped(&mut strict, Stop::HandBack) => continue,
                    }
                }
                Turn::StreamEnd(end) => end,
            };
            let picked_up = tokio::select! {
                picked_up = self.pick_up(end) => picked_up,
                () = stopped(&mut strict, Stop::HandBack) => Ok(()),
            };
            if let Err(outcome) = picked_up {
                return self.kill(outcome).await;
            }
            // A command sent now could land in the middle of the last one.
            times.started = (!self.started).then(|| Instant::now() + STARTED);
            times.quiet = Instant::now() + QUIET;
            // The end of the job may be in the output that is still to be read.
            times.overdue = times.overdue.max(Instant::now() + SLACK);
            told = false;
            orders.mark_changed();
        }
    }

    pub(super) async fn renew(&mut self, until: Instant) -> bool {
        let lease = boot::lease(until, self.shares_clock);
        // Also when the write fails: the renewal may have arrived.
        self.fence = self.fence.max(until);
        self.say(&Command::Renew(lease)).await
    }

    /// Waits for whatever comes first. Output is read only when there is room to pass it on: that
    /// is how back-pressure reaches the command. While there is no room the sandbox cannot be
    /// overdue, because its last message may wait behind that output.
    async fn turn(
        &mut self,
        orders: &mut watch::Receiver<Orders>,
        health: &mut watch::Receiver<Option<Trouble>>,
        events: &mpsc::Sender<RunEvent>,
        times: &mut Times,
    ) -> Turn {
        let (event_stream, clock, resume_point) =
            (&mut self.event_stream, &mut self.clock, &mut self.resume_point);
        let (started, folder, overdue) = (&mut self.started, &mut self.folder, times.next());
        let listen = async {
            loop {
                // The receiver outlives the attempt.
                let Ok(room) = events.reserve().await else {
                    return Turn::StreamEnd(StreamEnd::Garbled(String::new()));
                };
                let next = tokio::select! {
                    biased;
                    next = event_stream.next() => next,
                    () = sleep_until(overdue) => return Turn::Overdue,
                    () = sleep_until(times.quiet) => return Turn::Quiet,
                };
                times.quiet = Instant::now() + QUIET;
                let next = match next {
                    // The container was already renamed, or was found by its name.
                    Ok(Event::Taken(_)) => continue,
                    Ok(Event::Changes(changes)) => {
                        folder.changes = Some(changes);
                        continue;
                    }
                    Ok(Event::Artifacts(artifacts)) => {
                        folder.artifacts = Some(artifacts);
                        continue;
                    }
                    next => next,
                };
                match next.map(|event| to_run_event(event, clock)) {
                    Err(end) => return Turn::StreamEnd(end),
                    Ok(Err(turn)) => return turn,
                    Ok(Ok(RunEvent::Frame(frame))) => {
                        if let Some(frame) = resume_point.rest_of(frame) {
                            room.send(RunEvent::Frame(frame));
                        }
                    }
                    // Only the executor sends this one.
                    Ok(Ok(RunEvent::Made(_))) => {}
                    Ok(Ok(RunEvent::Started)) => {
                        room.send(RunEvent::Started);
                        *started = true;
                        if times.started.take().is_some() {
                            // From now on commands can be sent again.
                            return Turn::Health;
                        }
                    }
                }
            }
        };
        tokio::select! {
            biased;
            // First, because it decides what is sent.
            Ok(()) = health.changed() => Turn::Health,
            changed = orders.changed() => {
                if changed.is_err() {
                    let reason = "nobody answers for the attempt any more";
                    return Turn::StreamEnd(StreamEnd::Garbled(reason.to_owned()));
                }
                Turn::Orders(*orders.borrow_and_update())
            }
            turn = listen => turn,
        }
    }
}

/// Turns an event of the running job into a [`RunEvent`]. Any other event ends the turn.
fn to_run_event(event: Event, clock: &mut SandboxClock) -> Result<RunEvent, Turn> {
    let mut time = |at| clock.wall(at, clock::wall_micros());
    let frame = |time, body| Ok(RunEvent::Frame(Frame { time, body }));
    match event {
        Event::Started => Ok(RunEvent::Started),
        Event::Output { stream, at, bytes, .. } => {
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
        Event::Ready(_) | Event::Taken(_) | Event::Changes(_) | Event::Artifacts(_) => {
            Err(Turn::StreamEnd(StreamEnd::Garbled("its sandbox began anew".to_owned())))
        }
    }
}
