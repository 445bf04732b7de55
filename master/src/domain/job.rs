//! The job's states, events and verdicts: the vocabulary of the state machine. `machine.rs` holds
//! the transitions.
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
//! * A Pending job may be blocked by other jobs ([`Hold`]): `Freed` lets it proceed, and `Skipped`
//!   cancels it when it can never begin.
//! * A held job (Assigned, Running) is not cancelled or deleted at once: its lease records the
//!   request ([`Stop`]), and its worker ends the attempt and reports it.
//! * `DeleteRequested` removes a Pending or Finished job altogether.
//! * An attempt begins with a claim and ends when the job leaves Assigned or Running.

use jiff::Timestamp;
use orchestra_contracts::{
    AttemptNo, Condition, JobId, JobSpec, JobStatus, LeaseToken, Outcome, Ran, Span, Usage,
    WorkerName,
    worker::{LogEnd, LogHead},
};
use serde::{Deserialize, Serialize};

use super::{AttemptResults, MissingArtifact, NewJob, RetryPolicy};

/// A job as the state machine sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    pub id: JobId,
    pub spec: JobSpec,
    /// Its place in an array, if it belongs to one.
    pub element: Option<Element>,
    pub state: JobState,
    /// Number of the newest attempt; 0 before the first claim.
    pub attempts: u32,
    /// Retries used of `maxRetries`.
    pub retries: u32,
    /// Retries used of the infrastructure budget.
    pub infra_retries: u32,
    /// Number of lost attempts.
    pub lost: u32,
    pub created_at: Timestamp,
    /// The stored part of the newest attempt's log.
    pub log: LogHead,
}

impl Job {
    /// A job that was just submitted. It waits for nothing but its `notBefore` time.
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

    /// A job that was just submitted together with others, whose ids are `ids`. It may wait for
    /// some of them.
    pub fn submitted(id: JobId, new: &NewJob, ids: &[JobId], now: Timestamp) -> Self {
        let mut job = Self::new(id, new.settled(ids), now);
        let element =
            |(first, index): (usize, u32)| Some(Element { array: *ids.get(first)?, index });
        job.element = new.element.and_then(element);
        let hold = if new.after.is_empty() { Hold::past_jobs(&job.spec) } else { Some(Hold::Jobs) };
        job.state = JobState::Pending { not_before: job.spec.not_before, hold, after: None };
        job
    }

    /// The array that the job belongs to, identified by the array's first job.
    pub fn array(&self) -> Option<JobId> {
        self.element.map(|element| element.array)
    }

    /// The job's state as the API shows it.
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

    /// The lease on the newest attempt, while a worker holds it.
    pub fn lease(&self) -> Option<&Lease> {
        match &self.state {
            JobState::Assigned { lease } | JobState::Running { lease, .. } => Some(lease),
            JobState::Pending { .. } | JobState::Finished { .. } => None,
        }
    }

    /// How the newest attempt ended. `None` while it has not.
    pub fn finish(&self) -> Option<&Finish> {
        match &self.state {
            JobState::Pending { after, .. } => after.as_ref(),
            JobState::Finished { finish } => Some(finish),
            JobState::Assigned { .. } | JobState::Running { .. } => None,
        }
    }

    /// When the command of the newest attempt started.
    pub fn started_at(&self) -> Option<Timestamp> {
        match &self.state {
            JobState::Running { started_at, .. } => Some(*started_at),
            _ => self.finish()?.started_at,
        }
    }
}

/// The state of a job. Each variant holds what is known in that state and nothing else.
#[derive(Clone, Debug, PartialEq)]
pub enum JobState {
    /// `after` is how the newest attempt ended, if the job is waiting for a retry.
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
    /// Completed, Failed or Cancelled, depending on `finish`.
    Finished {
        finish: Finish,
    },
}

/// Why a job cannot be claimed yet, apart from its time. The store finds out when a hold is lifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Jobs that it depends on have not ended.
    Jobs,
    /// Its array already runs as many jobs as it may at once.
    Turn,
}

impl Hold {
    /// The hold of a job that depends on no other job, or no longer does.
    pub fn past_jobs(spec: &JobSpec) -> Option<Self> {
        let bounded = spec.array.as_ref().is_some_and(|array| array.at_once.is_some());
        bounded.then_some(Self::Turn)
    }
}

/// A job's place in an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    /// The array's first job.
    pub array: JobId,
    pub index: u32,
}

/// The right of one worker to run the newest attempt, until `expires_at`.
#[derive(Clone, Debug, PartialEq)]
pub struct Lease {
    pub worker: WorkerName,
    pub token: LeaseToken,
    pub claimed_at: Timestamp,
    pub expires_at: Timestamp,
    pub stop: Stop,
}

/// Whether a held job is to be stopped, and what happens to it then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stop {
    #[default]
    No,
    Cancel,
    /// Cancel the job, and delete it when its attempt has ended.
    Delete,
}

/// How an attempt ended. In a finished job the outcome is the job's: `Cancelled` if the job was
/// cancelled, `Poison` if it lost too many attempts, whatever the outcome of its last attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Finish {
    /// `None` if the job was cancelled before any attempt.
    pub worker: Option<WorkerName>,
    pub outcome: Outcome,
    pub usage: Option<Usage>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Timestamp,
    pub tail: Option<Tail>,
}

/// The last bytes of an attempt's output, as the API shows them in a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tail {
    pub output: String,
    pub error: String,
    pub truncated: bool,
}

/// The proof that a worker holds the lease. It comes with every report about an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    pub worker: WorkerName,
    pub token: LeaseToken,
    /// Omitted by curl workers: then the newest attempt is meant.
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
    /// `ran` is stored with the attempt and does not affect the transition.
    Started {
        proof: Proof,
        ran: Option<Box<Ran>>,
    },
    /// The outcome `HandedBack` returns the job unfinished. `log` and the artifacts of `results`
    /// must match what is stored.
    Ended {
        proof: Proof,
        outcome: Outcome,
        usage: Option<Usage>,
        log: Option<LogEnd>,
        tail: Option<Tail>,
        results: AttemptResults,
    },
    /// Upkeep found that the lease has expired.
    LeaseExpired,
    CancelRequested,
    DeleteRequested,
    /// The previous hold was lifted; `hold` replaces it.
    Freed {
        hold: Option<Hold>,
    },
    /// A job that it depends on ended with a status that its condition excludes.
    Skipped {
        job: JobId,
        ended: JobStatus,
        needs: Condition,
    },
    /// A finished job is to run again, with fresh budgets.
    RetryRequested,
}

/// The machine's inputs besides the job and the event.
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
    /// The job's new state. The caller performs the effects.
    Moved(Box<Job>, Effects),
    /// The event had already been applied: a repeated call gets the same answer.
    AlreadyTrue,
    Refused(Refusal),
}

/// What the caller has to do besides updating the job's row.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "a list of things to do, not a state")]
pub struct Effects {
    /// An attempt begins: insert its row.
    pub attempt_begins: bool,
    /// The newest attempt ended: complete its row.
    pub attempt_ended: Option<Finish>,
    /// Delete the job and everything that belongs to it.
    pub delete: bool,
    /// The job can be claimed, perhaps only later: wake the dispatcher.
    pub claimable: bool,
    /// The job's worker should end the attempt: tell it with its next heartbeat.
    pub stop_worker: bool,
}

/// Why an event is not possible now. The text completes the sentence "the job cannot ...:
/// {refusal}".
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
