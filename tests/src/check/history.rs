//! What an observer recorded, ordered by its own clock, and its file format: one JSON object a
//! line.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::Path,
    time::Duration,
};

use orchestra_contracts::{AttemptNo, JobId, JobStatus, Outcome, WorkerName};
use serde::{Deserialize, Serialize};

use super::{Content, Piece, micros};

/// The label that identifies a job whose submission was never answered. Its value is the number of
/// the submission.
pub const REQUEST_LABEL: &str = "request";

/// A recorded event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Time since the observer started.
    #[serde(with = "micros")]
    pub at: Duration,
    #[serde(flatten)]
    pub what: What,
}

/// What a job does when nothing disturbs it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JobPlan {
    pub command: String,
    pub max_retries: u32,
    /// All outcomes that the command itself can have; empty when they are not known.
    pub ends: Vec<Outcome>,
}

/// A request about an existing job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Wish {
    Cancel,
    Delete,
    Retry,
}

/// When a program was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// At rest, before the first job.
    Before,
    During,
    /// At rest, after the last job.
    After,
}

/// The kinds of recorded events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum What {
    /// A job is submitted, with its request number as the label [`REQUEST_LABEL`].
    SubmitSent {
        request: u64,
        plan: JobPlan,
    },
    /// The submission was answered with 201.
    Submitted {
        request: u64,
        job: JobId,
    },
    /// The submission was answered with another status, so the job must not exist.
    SubmitRefused {
        request: u64,
        status: u16,
    },
    /// The submission was never answered, so the job may or may not exist.
    SubmitUnknown {
        request: u64,
    },
    Asked {
        job: JobId,
        wish: Wish,
    },
    /// `attempt` is the newest attempt in the answer, if it names one.
    Answered {
        job: JobId,
        wish: Wish,
        status: u16,
        attempt: Option<AttemptNo>,
    },
    /// The job was read; the request was sent at `since`.
    Seen {
        job: JobId,
        #[serde(with = "micros")]
        since: Duration,
        status: JobStatus,
        attempt: Option<AttemptNo>,
        outcome: Option<Outcome>,
    },
    /// A read of the job was answered with 404.
    Missing {
        job: JobId,
        #[serde(with = "micros")]
        since: Duration,
    },
    /// The first moment at which this container may have been running.
    ContainerStarted {
        job: JobId,
        attempt: AttemptNo,
        worker: WorkerName,
    },
    /// The last moment at which it may have been running.
    ContainerGone {
        job: JobId,
        attempt: AttemptNo,
        worker: WorkerName,
    },
    /// The worker holds the attempt until then, unless the lease is renewed.
    LeaseUntil {
        job: JobId,
        attempt: AttemptNo,
        #[serde(with = "micros")]
        until: Duration,
    },
    /// Output of the command: complete when it ends on its own, or up to the point where it was
    /// stopped. Without an attempt, it applies to all. Several such events are concatenated.
    Wrote {
        job: JobId,
        attempt: Option<AttemptNo>,
        content: Content,
    },
    /// What one reader of the event stream received; `whole` when it saw the end.
    Followed {
        job: JobId,
        log: Vec<(AttemptNo, Vec<Piece>)>,
        whole: bool,
    },
    /// A worker's report of the end was accepted with 200.
    EndAccepted {
        job: JobId,
        attempt: AttemptNo,
        outcome: Outcome,
    },
    /// A write under an expired lease; `refused` when the answer was 409.
    StaleWrite {
        job: JobId,
        attempt: AttemptNo,
        refused: bool,
    },
    /// How many answers of the master were inspected.
    Answers {
        count: u64,
    },
    ServerError {
        status: u16,
        path: String,
        retry_after: bool,
    },
    /// A program's whole output was read; `panic` holds the line that reports one.
    Printed {
        program: String,
        panic: Option<String>,
    },
    /// Resource use of a process. After a restart, `program` differs.
    Measured {
        program: String,
        phase: Phase,
        memory: u64,
        files: u64,
        threads: u64,
    },
    /// A size in bytes, and its bound.
    Stored {
        what_of: String,
        bytes: u64,
        limit: u64,
    },
    Fault {
        kind: String,
        target: String,
    },
    /// All faults are over.
    Healed,
}

/// All recorded events, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    pub events: Vec<Event>,
}

impl History {
    pub fn record(&mut self, at: Duration, what: What) {
        self.events.push(Event { at, what });
    }

    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        for event in &self.events {
            serde_json::to_writer(&mut file, event)?;
            file.write_all(b"\n")?;
        }
        file.flush()
    }

    /// # Errors
    /// When the file cannot be read, or a line is not an event.
    pub fn load(path: &Path) -> io::Result<Self> {
        let mut events = Vec::new();
        for line in BufReader::new(File::open(path)?).lines() {
            events.push(serde_json::from_str(&line?)?);
        }
        Ok(Self { events })
    }
}
