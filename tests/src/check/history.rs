//! What an observer saw, in its own order and by its own clock, and how that is
//! kept on disk: one JSON object a line.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::Path,
    time::Duration,
};

use orchestra_contracts::{AttemptNo, JobId, JobStatus, Outcome, WorkerName};
use serde::{Deserialize, Serialize};

use super::{Content, Piece, micros};

/// The label by which a job is found again whose submit was never answered: its
/// value is the number of the submit.
pub const REQUEST_LABEL: &str = "request";

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Since the observer began.
    #[serde(with = "micros")]
    pub at: Duration,
    #[serde(flatten)]
    pub what: What,
}

/// What a job does when nobody disturbs it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JobPlan {
    pub command: String,
    pub max_retries: u32,
    /// All ends that the command itself may come to; empty when that is not known.
    pub ends: Vec<Outcome>,
}

/// What people ask of a job that exists.
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
    /// At rest, after the last one.
    After,
}

/// The kinds of things that are recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum What {
    /// A job is submitted, with its number as the label [`REQUEST_LABEL`].
    SubmitSent {
        request: u64,
        plan: JobPlan,
    },
    /// 201.
    Submitted {
        request: u64,
        job: JobId,
    },
    /// Answered with another status: it must not exist.
    SubmitRefused {
        request: u64,
        status: u16,
    },
    /// Never answered: it may exist or not.
    SubmitUnknown {
        request: u64,
    },
    Asked {
        job: JobId,
        wish: Wish,
    },
    /// `attempt`: the newest one that the answer speaks of, if it does.
    Answered {
        job: JobId,
        wish: Wish,
        status: u16,
        attempt: Option<AttemptNo>,
    },
    /// The job was read; the question was sent at `since`.
    Seen {
        job: JobId,
        #[serde(with = "micros")]
        since: Duration,
        status: JobStatus,
        attempt: Option<AttemptNo>,
        outcome: Option<Outcome>,
    },
    /// The job was asked for and answered with 404.
    Missing {
        job: JobId,
        #[serde(with = "micros")]
        since: Duration,
    },
    /// The first moment at which this container may have run.
    ContainerStarted {
        job: JobId,
        attempt: AttemptNo,
        worker: WorkerName,
    },
    /// The last moment at which it may have run.
    ContainerGone {
        job: JobId,
        attempt: AttemptNo,
        worker: WorkerName,
    },
    /// The worker holds the attempt until then, if nothing renews it.
    LeaseUntil {
        job: JobId,
        attempt: AttemptNo,
        #[serde(with = "micros")]
        until: Duration,
    },
    /// What the command writes when it comes to its own end, or wrote until it was
    /// stopped. Without an attempt it is the same in all. Several follow each other.
    Wrote {
        job: JobId,
        attempt: Option<AttemptNo>,
        content: Content,
    },
    /// What one reader of the event stream got; `whole` when it saw the end.
    Followed {
        job: JobId,
        log: Vec<(AttemptNo, Vec<Piece>)>,
        whole: bool,
    },
    /// A worker's report of the end was answered with 200.
    EndAccepted {
        job: JobId,
        attempt: AttemptNo,
        outcome: Outcome,
    },
    /// A write of a lease that was over; `refused` when the answer was 409.
    StaleWrite {
        job: JobId,
        attempt: AttemptNo,
        refused: bool,
    },
    /// So many answers of the master were looked at, whatever they were.
    Answers {
        count: u64,
    },
    ServerError {
        status: u16,
        path: String,
        retry_after: bool,
    },
    /// All that a program printed was read; `panic` is what it says of one.
    Printed {
        program: String,
        panic: Option<String>,
    },
    /// A process was measured. A restarted one is another `program`.
    Measured {
        program: String,
        phase: Phase,
        memory: u64,
        files: u64,
        threads: u64,
    },
    /// A size, in bytes, with the bound that it must respect.
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

/// Everything that was recorded, in order.
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
