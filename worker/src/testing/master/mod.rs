//! A master in memory that misbehaves on request. It keeps one log and the files of one attempt,
//! hands out the jobs that it was given, and records what workers send.

mod answers;
mod refusals;
mod state;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use jiff::Timestamp;
use orchestra_client::ClientError;
use orchestra_contracts::{
    JobId, JobStatus, Span,
    frame::Frame,
    worker::{Check, Claimed, HeartbeatReply, JobUpdate, LeaseRef, Registration},
};
use tokio::sync::Notify;

use self::{refusals::unanswered, state::State};

/// What happens to one append. After the script, everything is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Append {
    Store,
    LoseRequest,
    LoseAnswer,
    /// The connection broke on the way: only the first frame came through.
    StoreFirstFrame,
    StoreFirstFrameAndComplain,
    Unwell,
    LeaseLost,
    AnswerOffset(u64),
    /// For a file: all of it is lost, so the piece begins beyond its end.
    ForgetAndComplain,
    TooLarge,
}

#[derive(Default)]
pub(crate) struct FakeMaster {
    state: Mutex<State>,
    changed: Notify,
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

    /// The length of each append.
    pub(crate) fn requests(&self) -> Vec<usize> {
        self.state.lock().unwrap().requests.clone()
    }

    /// Scripts what happens to the next pieces of files.
    pub(crate) fn script_pieces(&self, script: &[Append]) {
        self.state.lock().unwrap().piece_script = script.iter().copied().collect();
    }

    /// Sets what an earlier process has sent.
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

    /// Makes the worker hold this job from before, with this much of its log stored.
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

    /// The worker's trouble, according to its last heartbeat.
    pub(crate) fn unwell(&self) -> Option<String> {
        self.state.lock().unwrap().unwell.clone()
    }

    pub(crate) fn offer(&self, job: Claimed) {
        self.state.lock().unwrap().jobs.push_back(job);
        self.changed.notify_waiters();
    }

    /// Loses the answers to the next `count` claims.
    pub(crate) fn lose_claims(&self, count: u32) {
        self.state.lock().unwrap().lost_claims = count;
    }

    /// Loses the answers to the next `count` reports with a claim.
    pub(crate) fn lose_reports(&self, count: u32) {
        self.state.lock().unwrap().lost_reports = count;
    }

    /// Makes it behave like an older version.
    pub(crate) fn grow_old(&self) {
        self.state.lock().unwrap().is_old = true;
    }

    /// The worker's registrations, in order.
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

    /// Leaves updates to this status unanswered; `None` ends that.
    pub(crate) fn be_deaf_to(&self, status: Option<JobStatus>) {
        self.state.lock().unwrap().deaf_to = status;
    }

    /// Changes the answer to the next heartbeats.
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

    /// The checks of the worker's machine, according to its last heartbeat.
    pub(crate) fn checks(&self) -> Vec<Check> {
        self.state.lock().unwrap().checks.clone()
    }

    /// Stops its clock at this time.
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
