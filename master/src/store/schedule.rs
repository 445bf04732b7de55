//! A schedule as it is kept, and one step of it.

use jiff::Timestamp;
use orchestra_contracts::{JobId, JobSpec, NewSchedule, Overlap, ScheduleName};

use crate::domain::{Job, Turn, turn};

/// No more schedules are kept: each is looked at when its time comes.
pub const MAX_SCHEDULES: u32 = 1000;

#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleRecord {
    /// With the secrets of its spec sealed.
    pub what: NewSchedule,
    pub created_at: Timestamp,
    pub paused_since: Option<Timestamp>,
    /// The oldest time for which nothing was done yet.
    pub next_at: Option<Timestamp>,
    /// The newest time for which a job was begun, and the job.
    pub last: Option<(Timestamp, JobId)>,
    pub skipped: u64,
    pub newest_skip: Option<Skip>,
}

impl ScheduleRecord {
    /// One that was just made and whose first time is `next_at`.
    pub fn new(what: NewSchedule, next_at: Option<Timestamp>, now: Timestamp) -> Self {
        let (paused_since, last, skipped, newest_skip) = (None, None, 0, None);
        Self { what, created_at: now, paused_since, next_at, last, skipped, newest_skip }
    }
}

/// A time that came and went without a job, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    pub time: Timestamp,
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    New,
    /// There is one of this name.
    Exists,
    /// There are [`MAX_SCHEDULES`].
    Full,
}

/// From one time of a schedule to the next. It is done once: what it was decided on must still
/// be so.
#[derive(Clone, Debug)]
pub struct Step {
    pub name: ScheduleName,
    /// Tells it from one of the same name that was removed.
    pub created_at: Timestamp,
    /// The `next_at` that was read.
    pub was: Timestamp,
    pub next: Option<Timestamp>,
    pub begin: Option<Begin>,
    /// How many times came and went, and the newest of them.
    pub skipped: u64,
    pub newest_skip: Option<Skip>,
    pub now: Timestamp,
}

/// A job that is due.
#[derive(Clone, Debug)]
pub struct Begin {
    pub time: Timestamp,
    pub spec: JobSpec,
    pub overlap: Overlap,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Stepped {
    /// With the job that began, if one did.
    Done(Option<Box<Job>>),
    /// Nothing was changed: these have to end first.
    Waits(Vec<JobId>),
    /// Somebody else did it, or it was paused or removed.
    NotDue,
}

impl Step {
    /// What the jobs of the schedule that have not ended mean for this step. A job that does
    /// not begin because of them is counted here.
    pub(super) fn meet(&self, open: &[JobId]) -> (Turn, Self) {
        let mut step = self.clone();
        let Some(begin) = &self.begin else { return (Turn::Begin, step) };
        let turn = turn(begin.overlap, open.len());
        if let (Turn::Skip, Some(job)) = (turn, open.first()) {
            let reason = format!("job {job}, which it began before, had not ended");
            step.newest_skip = Some(Skip { time: begin.time, reason });
            step.skipped += 1;
            step.begin = None;
        }
        (turn, step)
    }
}
