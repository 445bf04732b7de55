//! An executor whose jobs are scripts of its own: words separated by `;`.
//!
//! `say TEXT` · `count N` (so many lines) · `fail-first` (attempt 1 exits with 1) · `exit N` · `hang` (until it is told to stop) · `panic`

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use orchestra_contracts::{
    AttemptNo, Outcome,
    frame::{Body, Frame, Stream},
};
use tokio::sync::{mpsc, watch};

use crate::{
    control::{Orders, Stop, stopped},
    executor::{End, Executor, RunEvent, RunSpec},
};

#[derive(Debug, Default)]
pub(crate) struct ScriptedExecutor {
    running: AtomicUsize,
    most: AtomicUsize,
}

impl ScriptedExecutor {
    /// The most jobs that ran at once.
    pub(crate) fn most_at_once(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }

    async fn step(
        &self,
        step: &str,
        attempt: AttemptNo,
        orders: &mut watch::Receiver<Orders>,
        events: &mpsc::Sender<RunEvent>,
    ) -> Option<Outcome> {
        match step.split_once(' ').unwrap_or((step, "")) {
            ("say", text) => {
                say(events, text).await;
                None
            }
            ("count", lines) => {
                for line in 1..=lines.parse::<u64>().unwrap() {
                    say(events, &line.to_string()).await;
                }
                None
            }
            ("fail-first", _) if attempt == AttemptNo(1) => Some(Outcome::Exited { code: 1 }),
            ("fail-first", _) => None,
            ("exit", code) => Some(Outcome::Exited { code: code.parse().unwrap() }),
            ("hang", _) => {
                stopped(orders, Stop::Cancel).await;
                let stop = orders.borrow().stop;
                Some(match stop.unwrap() {
                    Stop::Cancel => Outcome::Cancelled,
                    Stop::HandBack => Outcome::HandedBack,
                    Stop::Lost => Outcome::Lost,
                })
            }
            ("panic", _) => panic!("as the script says"),
            (word, _) => panic!("{word} is no word of these scripts"),
        }
    }
}

async fn say(events: &mpsc::Sender<RunEvent>, line: &str) {
    let bytes = format!("{line}\n").into_bytes().into();
    let frame = Frame { time: 1, body: Body::Bytes(Stream::Stdout, bytes) };
    events.send(RunEvent::Frame(frame)).await.unwrap();
}

/// Counts an attempt as running, also when it panics.
struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Executor for ScriptedExecutor {
    async fn run(
        &self,
        spec: RunSpec,
        mut orders: watch::Receiver<Orders>,
        events: mpsc::Sender<RunEvent>,
    ) -> End {
        let now = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        let _running = Running(&self.running);
        self.most.fetch_max(now, Ordering::SeqCst);
        events.send(RunEvent::Started).await.unwrap();
        for step in spec.spec.command.split(';').map(str::trim) {
            if let Some(outcome) = self.step(step, spec.attempt, &mut orders, &events).await {
                return outcome.into();
            }
        }
        Outcome::Exited { code: 0 }.into()
    }

    async fn ready(&self) {}

    async fn close(&self) {}
}
