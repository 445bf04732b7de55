//! A master in memory that misbehaves as it is told: it keeps one log and the files of one
//! attempt, hands out the jobs that it was given, and remembers what workers say.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use orchestra_client::ClientError;
use orchestra_contracts::{
    ContentHash, JobId, JobStatus, Problem, ProblemKind, Span, WorkerName,
    frame::{Body, Frame, Frames, Stream},
    worker::{
        ArtifactHead, Check, ClaimTerms, Claimed, Heartbeat, HeartbeatReply, JobUpdate, LeaseRef,
        LogHead, LogRest, Registration, Welcome,
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
    /// Of a file: all of it is forgotten, and the piece begins behind its end.
    ForgetAndComplain,
    TooLarge,
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
    /// What every upload has.
    upload: Vec<u8>,
    requests: Vec<usize>,
    /// What happens to pieces of files.
    piece_script: VecDeque<Append>,
    files: BTreeMap<String, Vec<u8>>,
    pieces: Vec<(String, u64, usize)>,
    jobs: VecDeque<Claimed>,
    /// What it believes the worker to hold.
    held: Vec<Claimed>,
    /// The leases of each heartbeat, as they came.
    beats: Vec<Vec<LeaseRef>>,
    /// What the last of them said of the worker.
    unwell: Option<String>,
    checks: Vec<Check>,
    /// What its clock shows.
    date: Option<Timestamp>,
    /// Request ids of claims, as they came.
    claims: Vec<(String, u32)>,
    lost_claims: u32,
    /// What claims in reports brought, by their ids.
    brought: BTreeMap<String, Vec<Claimed>>,
    lost_reports: u32,
    /// It knows of nothing that comes along with reports.
    is_old: bool,
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

    /// What happens to the next pieces of files.
    pub(crate) fn script_pieces(&self, script: &[Append]) {
        self.state.lock().unwrap().piece_script = script.iter().copied().collect();
    }

    /// An earlier process has sent this.
    pub(crate) fn has_file(&self, path: &str, content: &[u8]) {
        self.state.lock().unwrap().files.insert(path.to_owned(), content.to_vec());
    }

    pub(crate) fn file(&self, path: &str) -> Option<Vec<u8>> {
        self.state.lock().unwrap().files.get(path).cloned()
    }

    /// Path, offset and length of each piece.
    pub(crate) fn pieces(&self) -> Vec<(String, u64, usize)> {
        self.state.lock().unwrap().pieces.clone()
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

    /// The answers to so many reports with a claim are lost on the way.
    pub(crate) fn lose_reports(&self, count: u32) {
        self.state.lock().unwrap().lost_reports = count;
    }

    /// It is one of an older version.
    pub(crate) fn grow_old(&self) {
        self.state.lock().unwrap().is_old = true;
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

    /// What the last heartbeat said that was found on the worker's machine.
    pub(crate) fn checks(&self) -> Vec<Check> {
        self.state.lock().unwrap().checks.clone()
    }

    /// From now on its clock stands there.
    pub(crate) fn show(&self, date: Timestamp) {
        self.state.lock().unwrap().date = Some(date);
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

    /// As a master does that knows of all that comes along, or of nothing of it.
    fn update(&mut self, update: &JobUpdate) -> Result<Vec<Claimed>, ClientError> {
        self.updates.push(update.clone());
        if let (false, Some(LogRest(rest)), Some(log)) = (self.is_old, &update.rest, update.log) {
            self.append(log.offset - rest.len() as u64, rest);
        }
        let head = self.head();
        if update.log.is_some_and(|log| log.offset > head.offset) {
            return Err(with_head(ProblemKind::LogIncomplete, head));
        }
        let Some(claim) = update.claim.as_ref().filter(|_| !self.is_old) else {
            return Ok(Vec::new());
        };
        let request = claim.request_id.clone().unwrap();
        let slots = self.jobs.len().min(claim.slots as usize);
        let jobs = self.jobs.drain(..slots).collect();
        let jobs = self.brought.entry(request).or_insert(jobs).clone();
        if self.lost_reports > 0 {
            self.lost_reports -= 1;
            return Err(unanswered());
        }
        Ok(jobs)
    }

    fn append_piece(&mut self, path: &str, at: u64, piece: &[u8]) -> Result<u64, ClientError> {
        let file = self.files.entry(path.to_owned()).or_default();
        let stored = file.len() as u64;
        if at > stored {
            let ClientError::Refused(mut refusal) = problem(ProblemKind::ArtifactOffset, 409)
            else {
                unreachable!("problems are refusals")
            };
            refusal.artifact = Some(ArtifactHead { offset: stored });
            return Err(ClientError::Refused(refusal));
        }
        let known = (stored - at) as usize;
        file.extend_from_slice(piece.get(known..).unwrap_or_default());
        Ok(file.len() as u64)
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

fn misplaced(head: LogHead) -> ClientError {
    with_head(ProblemKind::LogOffset, head)
}

fn with_head(kind: ProblemKind, head: LogHead) -> ClientError {
    let ClientError::Refused(mut refusal) = problem(kind, 409) else {
        unreachable!("problems are refusals")
    };
    refusal.log = Some(head);
    ClientError::Refused(refusal)
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
                let request = terms.request_id.as_deref().unwrap_or_default();
                if let Some(jobs) = state.brought.get(request).filter(|jobs| !jobs.is_empty()) {
                    return Ok(jobs.clone());
                }
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

    async fn upload_piece(
        &self,
        _: &ContentHash,
        offset: u64,
        length: u64,
    ) -> Result<(Bytes, u64), ClientError> {
        self.check_silence()?;
        let state = self.state.lock().unwrap();
        let rest = state
            .upload
            .get(offset as usize..)
            .ok_or_else(|| problem(ProblemKind::NotFound, 404))?;
        let piece = &rest[..rest.len().min(length as usize)];
        Ok((Bytes::copy_from_slice(piece), state.upload.len() as u64))
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
        state.checks = beat.stats.as_ref().map(|stats| stats.checks.clone()).unwrap_or_default();
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
                Err(misplaced(state.append(offset, &first_frame(&frames))))
            }
            Append::Unwell => Err(problem(ProblemKind::Unavailable, 503)),
            Append::LeaseLost => Err(problem(ProblemKind::LeaseLost, 409)),
            Append::AnswerOffset(offset) => Ok(LogHead { offset, ..LogHead::default() }),
            Append::ForgetAndComplain | Append::TooLarge => unreachable!("logs have no such fate"),
        }
    }

    async fn append_artifact(
        &self,
        _: &WorkerName,
        _: &LeaseRef,
        path: &str,
        offset: u64,
        piece: Bytes,
    ) -> Result<ArtifactHead, ClientError> {
        tokio::task::yield_now().await;
        self.check_silence()?;
        let mut state = self.state.lock().unwrap();
        state.pieces.push((path.to_owned(), offset, piece.len()));
        let stored = match state.piece_script.pop_front().unwrap_or(Append::Store) {
            Append::Store => state.append_piece(path, offset, &piece)?,
            Append::LoseRequest => return Err(unanswered()),
            Append::LoseAnswer => {
                state.append_piece(path, offset, &piece)?;
                return Err(unanswered());
            }
            Append::StoreFirstFrame | Append::StoreFirstFrameAndComplain => {
                let half = piece.len().div_ceil(2);
                state.append_piece(path, offset, &piece[..half])?
            }
            Append::ForgetAndComplain => {
                state.files.remove(path);
                state.append_piece(path, offset, &piece)?
            }
            Append::Unwell => return Err(problem(ProblemKind::Unavailable, 503)),
            Append::LeaseLost => return Err(problem(ProblemKind::LeaseLost, 409)),
            Append::TooLarge => return Err(problem(ProblemKind::TooLarge, 413)),
            Append::AnswerOffset(offset) => offset,
        };
        Ok(ArtifactHead { offset: stored })
    }

    async fn update(&self, update: &JobUpdate) -> Result<Vec<Claimed>, ClientError> {
        tokio::task::yield_now().await;
        self.check_silence()?;
        if self.state.lock().unwrap().deaf_to == Some(update.status) {
            return Err(unanswered());
        }
        let answer = self.state.lock().unwrap().update(update);
        self.changed.notify_waiters();
        answer
    }

    async fn date(&self) -> Result<Timestamp, ClientError> {
        self.state.lock().unwrap().date.ok_or_else(unanswered)
    }
}
