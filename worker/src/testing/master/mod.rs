//! A master in memory that misbehaves as it is told: it keeps one log and the files of one
//! attempt, hands out the jobs that it was given, and remembers what workers say.

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
