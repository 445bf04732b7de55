//! A worker process's session with one of its containers: it passes orders in, and output and an
//! outcome out.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use orchestra_contracts::{
    Outcome, Usage,
    frame::{Body, Frame},
    worker::LogHead,
};
use orchestra_worker::parts::{End, Kept, Orders, Remains, RunEvent, RunSpec, Stop};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep},
};

use super::{Engine, Held, could_not_start};
use crate::container::{Exit, Next};

/// Time between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// A container of an earlier process.
pub(super) struct Found {
    pub(super) engine: Arc<Engine>,
    pub(super) held: Held,
}

#[async_trait]
impl Remains for Found {
    async fn resume(
        self: Box<Self>,
        _: RunSpec,
        stored: LogHead,
        orders: watch::Receiver<Orders>,
        events: mpsc::Sender<RunEvent>,
    ) -> End {
        let _ = events.send(RunEvent::Started).await;
        let Self { engine, held } = *self;
        let conversation = Conversation { engine, held, stored: ResumePoint::after(stored) };
        let end = conversation.hold(orders.clone(), events).await;
        // Like the real executor: the fence ended the container although the lease was still renewed.
        let lost = orders.borrow().stop == Some(Stop::Lost);
        if end.outcome == Outcome::Lost && !lost {
            return could_not_start("its worker was away for longer than its lease").into();
        }
        end
    }
}

/// How much of the container's output is stored already.
pub(super) struct ResumePoint {
    left: u64,
}

impl ResumePoint {
    pub(super) fn after(stored: LogHead) -> Self {
        Self { left: stored.output + stored.gap }
    }
}

/// A worker process's session with one container.
pub(super) struct Conversation {
    pub(super) engine: Arc<Engine>,
    pub(super) held: Held,
    pub(super) stored: ResumePoint,
}

enum Turn {
    Orders(Orders),
    Exit(Exit),
}

impl Conversation {
    pub(super) async fn hold(
        mut self,
        mut orders: watch::Receiver<Orders>,
        events: mpsc::Sender<RunEvent>,
    ) -> End {
        let (mut place, mut cancelled) = (0, false);
        orders.mark_changed();
        loop {
            let turn = tokio::select! {
                biased;
                changed = orders.changed() => {
                    if changed.is_err() {
                        return Outcome::Lost.into();
                    }
                    Turn::Orders(*orders.borrow_and_update())
                }
                exit = self.listen(&mut place, &events) => Turn::Exit(exit),
            };
            let container = &self.held.container;
            match turn {
                Turn::Orders(Orders { stop: stop @ (None | Some(Stop::Cancel)), until }) => {
                    // A renewal carries a duration, and some time passes in transit.
                    let ttl = until.saturating_duration_since(Instant::now());
                    sleep(self.engine.chance.millis(0, 20)).await;
                    container.renew(Instant::now() + ttl);
                    if stop.is_some() && !std::mem::replace(&mut cancelled, true) {
                        container.terminate(GRACE);
                    }
                }
                Turn::Orders(Orders { stop: Some(Stop::HandBack), .. }) => {
                    return self.kill(Outcome::HandedBack).await;
                }
                Turn::Orders(Orders { stop: Some(Stop::Lost), .. }) => {
                    return self.kill(Outcome::Lost).await;
                }
                Turn::Exit(_) if self.stored.left > 0 => {
                    return self.kill(could_not_start("a part of what it said is missing")).await;
                }
                Turn::Exit(exit) => {
                    let (outcome, usage) = (outcome_of(exit), Some(Usage::default()));
                    return End { usage, kept: Kept::new(self.held), ..outcome.into() };
                }
            }
        }
    }

    /// Forwards the container's output while the channel has room.
    async fn listen(&mut self, place: &mut usize, events: &mpsc::Sender<RunEvent>) -> Exit {
        loop {
            let Ok(room) = events.reserve().await else { return Exit::Vanished };
            match self.held.container.next(*place).await {
                Next::Exit(exit) => return exit,
                Next::Piece(stream, mut bytes) => {
                    *place += 1;
                    let known = self.stored.left.min(bytes.len() as u64);
                    self.stored.left -= known;
                    let bytes = bytes.split_off(known as usize);
                    if !bytes.is_empty() {
                        let time = self.engine.record.now().as_micros() as u64;
                        let body = Body::Bytes(stream, bytes);
                        room.send(RunEvent::Frame(Frame { time, body }));
                    }
                }
            }
        }
    }

    async fn kill(self, outcome: Outcome) -> End {
        sleep(self.engine.chance.millis(1, 100)).await;
        drop(self.held);
        outcome.into()
    }
}

fn outcome_of(exit: Exit) -> Outcome {
    match exit {
        Exit::Code(code) => Outcome::Exited { code },
        Exit::Fenced => Outcome::Lost,
        Exit::Asked => Outcome::Cancelled,
        Exit::TimedOut => Outcome::TimedOut,
        Exit::Vanished => could_not_start("its container is gone"),
    }
}
