//! A schedule, as it is stored, and one step of it.

use jiff::Timestamp;
use orchestra_contracts::{JobId, JobSpec, NewSchedule, Overlap, ScheduleName};

use crate::domain::{Job, Turn, turn};

/// The maximum number of schedules: each costs a look when its time comes.
pub const MAX_SCHEDULES: u32 = 1000;

#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleRecord {
    /// The spec, its secrets sealed.
    pub what: NewSchedule,
    pub created_at: Timestamp,
    pub paused_since: Option<Timestamp>,
    /// The next time to handle.
    pub next_at: Option<Timestamp>,
    /// The newest time that began a job, and the job.
    pub last: Option<(Timestamp, JobId)>,
    pub skipped: u64,
    pub newest_skip: Option<Skip>,
}

impl ScheduleRecord {
    /// A new schedule, whose first time is `next_at`.
    pub fn new(what: NewSchedule, next_at: Option<Timestamp>, now: Timestamp) -> Self {
        let (paused_since, last, skipped, newest_skip) = (None, None, 0, None);
        Self { what, created_at: now, paused_since, next_at, last, skipped, newest_skip }
    }
}

/// A time at which no job began, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    pub time: Timestamp,
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    New,
    /// The name is taken.
    Exists,
    /// There are [`MAX_SCHEDULES`] already.
    Full,
}

/// One step of a schedule, from one time to the next. It is applied once: only while what it was
/// decided on still holds.
#[derive(Clone, Debug)]
pub struct Step {
    pub name: ScheduleName,
    /// Tells the schedule from a removed one of the same name.
    pub created_at: Timestamp,
    /// The `next_at` that was read.
    pub was: Timestamp,
    pub next: Option<Timestamp>,
    pub begin: Option<Begin>,
    /// How many times were skipped, and the newest of them.
    pub skipped: u64,
    pub newest_skip: Option<Skip>,
    pub now: Timestamp,
}

/// The job that is due.
#[derive(Clone, Debug)]
pub struct Begin {
    pub time: Timestamp,
    pub spec: JobSpec,
    pub overlap: Overlap,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Stepped {
    /// Applied; with the job that began, if any.
    Done(Option<Box<Job>>),
    /// Not applied: these jobs have to end first.
    Waits(Vec<JobId>),
    /// Not applied: another master did it, or the schedule was paused or removed.
    NotDue,
}

impl Step {
    /// Adjusts the step to the open jobs of the schedule. A job that does not begin because of them
    /// is counted as skipped.
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
