//! A simulated container: a command that writes lines in virtual time, and the fence that ends it
//! when its lease is not renewed. It keeps running while its worker is away.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use orchestra_contracts::{AttemptNo, JobId, WorkerName, frame::Stream};
use orchestra_tests::check::{Content, Text, What};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{process::Process, record::Record, script::Script};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    /// The lease ran out.
    Fenced,
    /// The container was told to stop, and did so by itself or was killed.
    Asked,
    TimedOut,
    /// Without an exit status: it was removed, or its host went down.
    Vanished,
}

/// What a container is made from.
#[derive(Debug)]
pub struct Request {
    pub worker: WorkerName,
    pub job: JobId,
    pub attempt: AttemptNo,
    pub script: Script,
    pub timeout: Duration,
    /// End of its first lease.
    pub until: Instant,
}

#[derive(Debug)]
pub struct Container {
    pub request: Request,
    state: watch::Sender<State>,
    owner: Mutex<Arc<Process>>,
    record: Arc<Record>,
}

#[derive(Debug)]
struct State {
    output: Vec<(Stream, Bytes)>,
    fence: Instant,
    /// When SIGKILL follows, and with which exit.
    kill: Option<(Instant, Exit)>,
    exit: Option<Exit>,
    removed: bool,
}

/// What a reader gets next.
#[derive(Debug)]
pub enum Next {
    Piece(Stream, Bytes),
    Exit(Exit),
}

impl Container {
    pub fn new(request: Request, owner: Arc<Process>, record: Arc<Record>) -> Arc<Self> {
        let fence = request.until;
        let state = State { output: Vec::new(), fence, kill: None, exit: None, removed: false };
        let (state, owner) = (watch::Sender::new(state), Mutex::new(owner));
        Arc::new(Self { request, state, owner, record })
    }

    fn owner_of(&self) -> MutexGuard<'_, Arc<Process>> {
        self.owner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn owner(&self) -> Arc<Process> {
        self.owner_of().clone()
    }

    pub fn give_to(&self, process: Arc<Process>) {
        *self.owner_of() = process;
    }

    pub fn is_removed(&self) -> bool {
        self.state.borrow().removed
    }

    pub fn runs(&self) -> bool {
        self.state.borrow().exit.is_none()
    }

    /// Runs the command from start to end.
    pub async fn live(self: Arc<Self>) {
        let Request { job, attempt, worker, script, timeout, .. } = &self.request;
        let (job, attempt, worker) = (*job, *attempt, worker.clone());
        self.record.note(What::ContainerStarted { job, attempt, worker: worker.clone() });
        let (began, mut changes) = (Instant::now(), self.state.subscribe());
        let mut line = 0;
        while let Some((fence, kill)) = self.running() {
            let timeout = if kill.is_none() { Some(began + *timeout) } else { None };
            let own = script.next(line).map(|after| began + after);
            let killed = kill.map(|(at, _)| at);
            let next = [own, timeout, killed].into_iter().flatten().fold(fence, Instant::min);
            tokio::select! {
                biased;
                changed = changes.changed() => {
                    changed.expect("self holds the sender");
                    continue;
                }
                () = sleep_until(next) => {}
            }
            match kill {
                _ if next >= fence => self.end(Exit::Fenced),
                Some((at, why)) if next >= at => self.end(why),
                None if timeout.is_some_and(|at| next >= at) => {
                    self.ask(Duration::from_secs(1), Exit::TimedOut);
                }
                _ if line < script.lines => {
                    line += 1;
                    self.write(script.line(attempt, line));
                }
                _ => self.end(Exit::Code(script.code(attempt))),
            }
        }
        let content = self.content();
        self.record.note(What::Wrote { job, attempt: Some(attempt), content });
        self.record.note(What::ContainerGone { job, attempt, worker });
    }

    fn running(&self) -> Option<(Instant, Option<(Instant, Exit)>)> {
        let state = self.state.borrow();
        state.exit.is_none().then_some((state.fence, state.kill))
    }

    fn write(&self, (stream, line): (Stream, String)) {
        self.state.send_modify(|state| state.output.push((stream, line.into())));
    }

    /// Only the first end counts.
    fn end(&self, exit: Exit) {
        self.state.send_modify(|state| {
            state.exit.get_or_insert(exit);
        });
    }

    fn ask(&self, grace: Duration, why: Exit) {
        let grace = if self.request.script.stubborn { grace } else { Duration::ZERO };
        self.state.send_modify(|state| {
            state.kill.get_or_insert((Instant::now() + grace, why));
        });
    }

    /// The latest renewal counts, as in the real PID 1.
    pub fn renew(&self, until: Instant) {
        self.state.send_modify(|state| state.fence = until);
    }

    pub fn terminate(&self, grace: Duration) {
        self.ask(grace, Exit::Asked);
    }

    /// Kills and removes it.
    pub fn remove(&self) {
        self.end(Exit::Vanished);
        self.state.send_modify(|state| state.removed = true);
    }

    /// The host loses it. Its output can still be read.
    pub fn vanish(&self) {
        self.end(Exit::Vanished);
    }

    /// Waits for the output at this position.
    pub async fn next(&self, place: usize) -> Next {
        let mut changes = self.state.subscribe();
        let there = |state: &State| place < state.output.len() || state.exit.is_some();
        let state = changes.wait_for(there).await.expect("self holds the sender");
        match (state.output.get(place), state.exit) {
            (Some((stream, bytes)), _) => Next::Piece(*stream, bytes.clone()),
            (None, Some(exit)) => Next::Exit(exit),
            (None, None) => unreachable!("one of them was waited for"),
        }
    }

    fn content(&self) -> Content {
        let state = self.state.borrow();
        let of = |wanted: Stream| {
            let pieces = state.output.iter().filter(|(stream, _)| *stream == wanted);
            Text::Bytes(pieces.flat_map(|(_, bytes)| bytes.iter().copied()).collect())
        };
        Content { stdout: of(Stream::Stdout), stderr: of(Stream::Stderr) }
    }
}
