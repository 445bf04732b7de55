//! How logs are appended and read: in chunks of whole frames.

use bytes::Bytes;
use orchestra_contracts::{AttemptNo, JobId, worker::LogHead};

use crate::domain::Proof;

/// An upload to an attempt's log.
#[derive(Clone, Debug)]
pub struct LogAppend {
    pub job: JobId,
    pub attempt: AttemptNo,
    pub proof: Proof,
    /// Where in the encoded log the frames begin. Bytes that are stored already are skipped; a hole
    /// is refused.
    pub offset: u64,
    /// Whole encoded frames (`orchestra_contracts::frame`), checked by the caller.
    pub frames: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Appended {
    /// Stored up to here, now or before.
    Stored(LogHead),
    /// The frames begin behind the end of the stored log, or not at the edge of a frame.
    Misplaced(LogHead),
    LeaseLost,
    NoSuchJob,
}

/// Whole frames that were stored together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogChunk {
    pub offset: u64,
    /// Its bytes of standard output, standard error and system lines.
    pub stdout: u64,
    pub stderr: u64,
    pub system: u64,
    pub frames: Bytes,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    Ascending,
    Descending,
}
