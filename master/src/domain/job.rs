//! What a job is, and the words of its machine. What each event does to it is
//! in `machine.rs`.
//!
//! ```text
//!  submit           Claimed            Started
//! --------> Pending --------> Assigned --------> Running
//!           ^  ^  |               |                 |
//!           |  |  |               +--------+--------+
//!           |  |  |                        | Ended, or LeaseExpired: the attempt is lost
//!           |  |  |                        v
//!           |  +--|--- retry ------- how did it end? --- success ----------> Completed
//!           |     |    a budget pays,      |  |
//!           |     |    or handed back      |  +--- no budget pays --------> Failed
//!           |     |                        |
//!           |     |                        +--- lost once too often: poison -> Failed
//!           |     |                        |
//!           |     |                        +--- cancel was asked for ------> Cancelled
//!           |     +--- CancelRequested ------------------------------------> Cancelled
//!           |
//!           +--- RetryRequested, fresh budgets --- Completed | Failed | Cancelled
//! ```
//!
//! * A Pending job may be kept back by others ([`Hold`]): `Freed` lets it go on, and `Skipped`
//!   cancels it when it can never begin.
//! * A held job (Assigned, Running) is not cancelled or deleted at once: its
//!   lease notes the wish ([`Stop`]), its worker ends the attempt and reports it.
//! * `DeleteRequested` takes a Pending or Finished job out of every picture.
//! * An attempt begins with a claim and ends when the job leaves Assigned or Running.

use jiff::Timestamp;
use orchestra_contracts::{
    AttemptNo, Condition, JobId, JobSpec, JobStatus, LeaseToken, Outcome, Ran, Span, Usage,
    WorkerName,
    worker::{LogEnd, LogHead},
};
use serde::{Deserialize, Serialize};

use super::{AttemptResults, MissingArtifact, NewJob, RetryPolicy};

/// A job as the machine knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    pub id: JobId,
    pub spec: JobSpec,
    /// Which of an array's jobs it is.
    pub element: Option<Element>,
    pub state: JobState,
    /// Number of the newest attempt; 0 before the first claim.
    pub attempts: u32,
    /// How many of `maxRetries` are used.
    pub retries: u32,
    /// How much of our own budget is used.
    pub infra_retries: u32,
    /// How many of its attempts were lost.
    pub lost: u32,
    pub created_at: Timestamp,
    /// How much of the newest attempt's log is stored.
    pub log: LogHead,
}

impl Job {
    /// A job as it is when it has just been submitted. It waits for nothing but its time.
    pub fn new(id: JobId, spec: JobSpec, now: Timestamp) -> Self {
        Self {
            id,
            state: JobState::Pending { not_before: spec.not_before, hold: None, after: None },
            spec,
            element: None,
            attempts: 0,
            retries: 0,
            infra_retries: 0,
            lost: 0,
            created_at: now,
            log: LogHead::default(),
        }
    }

    /// The same of one that came with others, which have these ids: it may have to wait for some.
    pub fn submitted(id: JobId, new: &NewJob, ids: &[JobId], now: Timestamp) -> Self {
        let mut job = Self::new(id, new.settled(ids), now);
        let element =
            |(first, index): (usize, u32)| Some(Element { array: *ids.get(first)?, index });
        job.element = new.element.and_then(element);
        let hold = if new.after.is_empty() { Hold::past_jobs(&job.spec) } else { Some(Hold::Jobs) };
        job.state = JobState::Pending { not_before: job.spec.not_before, hold, after: None };
        job
    }

    /// The array that it is of, by its first job.
    pub fn array(&self) -> Option<JobId> {
        self.element.map(|element| element.array)
    }

    /// The state in the words of the API.
    pub fn status(&self) -> JobStatus {
        match &self.state {
            JobState::Pending { .. } => JobStatus::Pending,
            JobState::Assigned { .. } => JobStatus::Assigned,
            JobState::Running { .. } => JobStatus::Running,
            JobState::Finished { finish } => match &finish.outcome {
                outcome if outcome.is_success() => JobStatus::Completed,
                Outcome::Cancelled | Outcome::Skipped { .. } => JobStatus::Cancelled,
                _ => JobStatus::Failed,
            },
        }
    }

    /// The right to its newest attempt, while somebody has it.
    pub fn lease(&self) -> Option<&Lease> {
        match &self.state {
            JobState::Assigned { lease } | JobState::Running { lease, .. } => Some(lease),
            JobState::Pending { .. } | JobState::Finished { .. } => None,
        }
    }

    /// How its newest attempt ended, once it has.
    pub fn finish(&self) -> Option<&Finish> {
        match &self.state {
            JobState::Pending { after, .. } => after.as_ref(),
            JobState::Finished { finish } => Some(finish),
            JobState::Assigned { .. } | JobState::Running { .. } => None,
        }
    }

    /// When its newest attempt's command began to run.
    pub fn started_at(&self) -> Option<Timestamp> {
        match &self.state {
            JobState::Running { started_at, .. } => Some(*started_at),
            _ => self.finish()?.started_at,
        }
    }
}

/// Each variant holds what is known in it and nothing else.
#[derive(Clone, Debug, PartialEq)]
pub enum JobState {
    /// `after`: how the newest attempt ended, when this is a retry.
    Pending {
        not_before: Option<Timestamp>,
        hold: Option<Hold>,
        after: Option<Finish>,
    },
    Assigned {
        lease: Lease,
    },
    Running {
        lease: Lease,
        started_at: Timestamp,
    },
    /// Completed, Failed or Cancelled: its `finish` tells which.
    Finished {
        finish: Finish,
    },
}

/// What keeps a job from being claimed, besides its time. The store knows when it is lifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Jobs that it begins after have not ended.
    Jobs,
    /// As many jobs of its array as may be at once are under way.
    Turn,
}

impl Hold {
    /// What keeps a job back that waits for no others, or for none any more.
    pub fn past_jobs(spec: &JobSpec) -> Option<Self> {
        let bounded = spec.array.as_ref().is_some_and(|array| array.at_once.is_some());
        bounded.then_some(Self::Turn)
    }
}

/// A place in an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    /// The array's first job.
    pub array: JobId,
    pub index: u32,
}

/// The right of one worker to run the newest attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Lease {
    pub worker: WorkerName,
    pub token: LeaseToken,
    pub claimed_at: Timestamp,
    pub expires_at: Timestamp,
    pub stop: Stop,
}

/// Whether somebody wants a held job ended, and what then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stop {
    #[default]
    No,
    Cancel,
    /// Cancel, and delete the job when its attempt has ended.
    Delete,
}

/// How an attempt ended. In a finished job the outcome is the job's: `Cancelled`
/// when it was cancelled and `Poison` when it lost too many, whatever its last
/// attempt met with.
#[derive(Clone, Debug, PartialEq)]
pub struct Finish {
    /// `None` when the job was cancelled before any attempt.
    pub worker: Option<WorkerName>,
    pub outcome: Outcome,
    pub usage: Option<Usage>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Timestamp,
    pub tail: Option<Tail>,
}

/// The last bytes of an attempt's output, as the Job shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tail {
    pub output: String,
    pub error: String,
    pub truncated: bool,
}

/// What a worker shows with everything that it says of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    pub worker: WorkerName,
    pub token: LeaseToken,
    /// Absent from workers made of curl: then the newest attempt is meant.
    pub attempt: Option<AttemptNo>,
}

#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one lives for as long as a call takes")]
pub enum JobEvent {
    Claimed {
        worker: WorkerName,
        token: LeaseToken,
        ttl: Span,
    },
    /// `ran` is kept with the attempt and decides nothing.
    Started {
        proof: Proof,
        ran: Option<Box<Ran>>,
    },
    /// `HandedBack` as outcome gives the job back unfinished. `log` must agree with what is
    /// stored, and so must the artifacts of `results`.
    Ended {
        proof: Proof,
        outcome: Outcome,
        usage: Option<Usage>,
        log: Option<LogEnd>,
        tail: Option<Tail>,
        results: AttemptResults,
    },
    /// Upkeep saw that the lease has run out.
    LeaseExpired,
    CancelRequested,
    DeleteRequested,
    /// What held it is over; this holds it now.
    Freed {
        hold: Option<Hold>,
    },
    /// A job that it was to begin after ended otherwise than it must have.
    Skipped {
        job: JobId,
        ended: JobStatus,
        needs: Condition,
    },
    /// Somebody wants an ended job run again, with fresh budgets.
    RetryRequested,
}

/// What the machine needs to know besides job and event.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub now: Timestamp,
    pub retry: RetryPolicy,
    /// From 0.0 to 1.0, drawn anew for each event.
    pub jitter: f64,
}

#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one lives for as long as a call takes")]
pub enum Verdict {
    /// The job is now this; the effects are the caller's to perform.
    Moved(Box<Job>, Effects),
    /// It was so before: the same call again gets the same answer.
    AlreadyTrue,
    Refused(Refusal),
}

/// What follows from a move, besides the row itself.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "a list of things to do, not a state")]
pub struct Effects {
    /// An attempt begins: insert its row.
    pub attempt_begins: bool,
    /// The newest attempt ended: fill in its row.
    pub attempt_ended: Option<Finish>,
    /// Delete the job with all that belongs to it.
    pub delete: bool,
    /// The job can be claimed (perhaps only later): wake the dispatcher.
    pub claimable: bool,
    /// The job's worker should end the attempt: tell it at its next heartbeat.
    pub stop_worker: bool,
}

/// Why an event is not possible now. Its text fits into "the job cannot ...: {refusal}".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("another attempt, or nobody, holds the job now")]
    LeaseLost,
    #[error("the job is {0}")]
    IllegalStep(&'static str),
    #[error("the log is not complete: {} bytes are stored", .0.offset)]
    LogIncomplete(LogHead),
    #[error("a file is not complete: {0}")]
    ArtifactIncomplete(MissingArtifact),
}
