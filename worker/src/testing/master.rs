//! A master in memory that misbehaves as it is told: it keeps one log, hands out
//! the jobs that it was given, and remembers what workers say.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use orchestra_client::ClientError;
use orchestra_contracts::{
    JobId, JobStatus, Problem, ProblemKind, Span, WorkerName,
    frame::{Body, Frame, Frames, Stream},
    worker::{
        ClaimTerms, Claimed, Heartbeat, HeartbeatReply, JobUpdate, LeaseRef, LogHead, Registration,
        Welcome,
    },
};
use tokio::sync::Notify;

use crate::master::Master;

/// What happens to one append. After the script everything is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Append {
    Store,
    LoseRequest,
    LoseAnswer,
    /// A connection that broke on the way: only the first frame came through.
    StoreFirstFrame,
    StoreFirstFrameAndComplain,
    Unwell,
    LeaseLost,
    AnswerOffset(u64),
}

#[derive(Default)]
pub(crate) struct FakeMaster {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    script: VecDeque<Append>,
    log: BytesMut,
    requests: Vec<usize>,
    jobs: VecDeque<Claimed>,
    /// What it believes the worker to hold.
    held: Vec<Claimed>,
    /// The leases of each heartbeat, as they came.
    beats: Vec<Vec<LeaseRef>>,
    /// What the last of them said of the worker.
    unwell: Option<String>,
    /// Request ids of claims, as they came.
    claims: Vec<(String, u32)>,
    lost_claims: u32,
    updates: Vec<JobUpdate>,
    registrations: Vec<Registration>,
    reply: HeartbeatReply,
    /// How often the answer to heartbeats has changed.
    orders: u64,
    /// No answer to anything but claims.
    silent: bool,
    /// Updates to this status are not heard.
    deaf_to: Option<JobStatus>,
}

pub(crate) fn problem(kind: ProblemKind, status: u16) -> ClientError {
    ClientError::Refused(Box::new(Problem {
        kind,
        title: String::new(),
        status,
        detail: format!("{kind:?}"),
        errors: Vec::new(),
        hint: None,
        log: None,
        artifact: None,
    }))
}

fn unanswered() -> ClientError {
    ClientError::Unreachable {
        url: "master".into(),
        reason: "it does not listen".into(),
        sent: false,
    }
}

impl FakeMaster {
    pub(crate) fn scripted(script: &[Append]) -> Arc<Self> {
        let master = Self::default();
        {
            let mut state = master.state.lock().unwrap();
            state.script = script.iter().copied().collect();
            state.reply.lease = Span::from_secs(60);
        }
        Arc::new(master)
    }

    pub(crate) fn log(&self) -> Bytes {
        self.state.lock().unwrap().log.clone().freeze()
    }

    /// Length of each append.
    pub(crate) fn requests(&self) -> Vec<usize> {
        self.state.lock().unwrap().requests.clone()
    }

    /// Has the worker hold this from before, with so much of its log stored.
    pub(crate) fn hold(&self, job: Claimed, log: &[Frame]) {
        let mut state = self.state.lock().unwrap();
        state.held.push(job);
        for frame in log {
            frame.encode(&mut state.log);
        }
    }

    /// The leases of each heartbeat so far.
    pub(crate) fn beats(&self) -> Vec<Vec<LeaseRef>> {
        self.state.lock().unwrap().beats.clone()
    }

    /// What ails the worker, by its last heartbeat.
    pub(crate) fn unwell(&self) -> Option<String> {
        self.state.lock().unwrap().unwell.clone()
    }

    pub(crate) fn offer(&self, job: Claimed) {
        self.state.lock().unwrap().jobs.push_back(job);
        self.changed.notify_waiters();
    }

    /// The answers to so many claims are lost on the way.
    pub(crate) fn lose_claims(&self, count: u32) {
        self.state.lock().unwrap().lost_claims = count;
    }

    /// What the worker said of itself, as it came.
    pub(crate) fn registrations(&self) -> Vec<Registration> {
        self.state.lock().unwrap().registrations.clone()
    }

    pub(crate) fn claims(&self) -> Vec<(String, u32)> {
        self.state.lock().unwrap().claims.clone()
    }

    pub(crate) fn fall_silent(&self) {
        self.state.lock().unwrap().silent = true;
    }

    pub(crate) fn speak_again(&self) {
        self.state.lock().unwrap().silent = false;
    }

    /// Updates to this status are not heard; `None` ends that.
    pub(crate) fn be_deaf_to(&self, status: Option<JobStatus>) {
        self.state.lock().unwrap().deaf_to = status;
    }

    /// What the next heartbeats are answered with.
    pub(crate) fn answer_heartbeats(&self, change: impl FnOnce(&mut HeartbeatReply)) {
        let mut state = self.state.lock().unwrap();
        change(&mut state.reply);
        state.orders += 1;
        drop(state);
        self.changed.notify_waiters();
    }

    /// Waits until an update of this kind has come.
    pub(crate) async fn updated(&self, job: i64, status: JobStatus) -> JobUpdate {
        let wanted = |update: &&JobUpdate| update.id == JobId(job) && update.status == status;
        loop {
            let changed = self.changed.notified();
            if let Some(update) = self.updates().iter().find(wanted) {
                return update.clone();
            }
            changed.await;
        }
    }

    pub(crate) fn updates(&self) -> Vec<JobUpdate> {
        self.state.lock().unwrap().updates.clone()
    }

    fn check_silence(&self) -> Result<(), ClientError> {
        if self.state.lock().unwrap().silent { Err(unanswered()) } else { Ok(()) }
    }
}

impl State {
    fn append(&mut self, offset: u64, frames: &Bytes) -> LogHead {
        let known = (self.log.len() as u64 - offset) as usize;
        self.log.extend_from_slice(frames.get(known..).unwrap_or_default());
        self.head()
    }

    fn head(&self) -> LogHead {
        let mut head = LogHead { offset: self.log.len() as u64, ..LogHead::default() };
        let mut crc32 = crc32fast::Hasher::new();
        for frame in Frames::new(self.log.clone().freeze()) {
            match frame.unwrap().body {
                Body::Bytes(Stream::System, _) => (),
                Body::Bytes(_, bytes) => {
                    head.output += bytes.len() as u64;
                    crc32.update(&bytes);
                }
                Body::Gap(bytes) => head.gap += bytes,
            }
        }
        head.crc32 = crc32.finalize();
        head
    }
}

fn first_frame(frames: &Bytes) -> Bytes {
    let first = Frames::new(frames.clone()).next().unwrap().unwrap();
    frames.slice(..first.encoded_len())
}

#[async_trait]
impl Master for FakeMaster {
    async fn register(
        &self,
        _: &WorkerName,
        registration: &Registration,
    ) -> Result<Welcome, ClientError> {
        self.check_silence()?;
        let mut state = self.state.lock().unwrap();
        state.registrations.push(registration.clone());
        let held = state.held.clone();
        Ok(Welcome { lease: Span::from_secs(60), heartbeat: Span::from_secs(15), held })
    }

    async fn claim(&self, terms: &ClaimTerms) -> Result<Vec<Claimed>, ClientError> {
        let id = terms.request_id.clone().unwrap();
        self.state.lock().unwrap().claims.push((id, terms.slots));
        let waiting = tokio::time::sleep(terms.wait.0);
        tokio::pin!(waiting);
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.state.lock().unwrap();
                if !state.jobs.is_empty() {
                    if state.lost_claims > 0 {
                        state.lost_claims -= 1;
                        return Err(unanswered());
                    }
                    let count = state.jobs.len().min(terms.slots as usize);
                    return Ok(state.jobs.drain(..count).collect());
                }
            }
            tokio::select! {
                () = changed => (),
                () = &mut waiting => return Ok(Vec::new()),
            }
        }
    }

    async fn heartbeat(
        &self,
        _: &WorkerName,
        beat: &Heartbeat,
    ) -> Result<HeartbeatReply, ClientError> {
        self.check_silence()?;
        let mut state = self.state.lock().unwrap();
        state.beats.push(beat.leases.clone());
        state.unwell.clone_from(&beat.unwell);
        Ok(state.reply.clone())
    }

    async fn orders(
        &self,
        _: &WorkerName,
        known: Option<u64>,
        wait: Duration,
    ) -> Result<u64, ClientError> {
        let waiting = tokio::time::sleep(wait);
        tokio::pin!(waiting);
        loop {
            let changed = self.changed.notified();
            self.check_silence()?;
            let orders = self.state.lock().unwrap().orders;
            if known != Some(orders) {
                return Ok(orders);
            }
            tokio::select! {
                () = changed => (),
                () = &mut waiting => return Ok(orders),
            }
        }
    }

    async fn append_log(
        &self,
        _: &WorkerName,
        _: &LeaseRef,
        offset: u64,
        frames: Bytes,
    ) -> Result<LogHead, ClientError> {
        tokio::task::yield_now().await;
        self.check_silence()?;
        let mut state = self.state.lock().unwrap();
        if frames.is_empty() {
            return Ok(state.head());
        }
        state.requests.push(frames.len());
        match state.script.pop_front().unwrap_or(Append::Store) {
            Append::Store => Ok(state.append(offset, &frames)),
            Append::LoseRequest => Err(unanswered()),
            Append::LoseAnswer => {
                state.append(offset, &frames);
                Err(unanswered())
            }
            Append::StoreFirstFrame => Ok(state.append(offset, &first_frame(&frames))),
            Append::StoreFirstFrameAndComplain => {
                let head = state.append(offset, &first_frame(&frames));
                let ClientError::Refused(mut refusal) = problem(ProblemKind::LogOffset, 409) else {
                    unreachable!("problems are refusals")
                };
                refusal.log = Some(head);
                Err(ClientError::Refused(refusal))
            }
            Append::Unwell => Err(problem(ProblemKind::Unavailable, 503)),
            Append::LeaseLost => Err(problem(ProblemKind::LeaseLost, 409)),
            Append::AnswerOffset(offset) => Ok(LogHead { offset, ..LogHead::default() }),
        }
    }

    async fn update(&self, update: &JobUpdate) -> Result<(), ClientError> {
        self.check_silence()?;
        if self.state.lock().unwrap().deaf_to == Some(update.status) {
            return Err(unanswered());
        }
        self.state.lock().unwrap().updates.push(update.clone());
        self.changed.notify_waiters();
        Ok(())
    }
}
