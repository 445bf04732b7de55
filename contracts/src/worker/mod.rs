//! The calls that only workers make.
//!
//! ```text
//! PUT  /api/worker/{name}            Registration     -> Welcome
//! POST /api/job/claim                ClaimRequest     -> [Claimed] | Job | 204
//! POST /api/worker/{name}/heartbeat  Heartbeat        -> HeartbeatReply
//! GET  /api/worker/{name}/orders     ?after=&wait=    -> Orders
//! POST /api/job/{id}/attempts/{n}/log    frames      -> LogHead
//! POST /api/job/{id}/attempts/{n}/artifacts  a piece of a file -> ArtifactHead
//! POST /api/job/update               JobUpdate        -> Job | Updated
//! POST /api/job/update               [JobUpdate]      -> [Updated]
//! ```
//! A lease is a duration, never an instant: no clock is compared with another
//! machine's. A worker counts it from before it sent the request that renewed it.

mod claim;
mod offer;
mod report;
mod stats;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{JobId, Span, WorkerName};

pub use claim::{ClaimRequest, ClaimTerms, Claimed, Lease, LeaseRef};
pub use offer::{LimitExceeded, Offer};
pub use report::{JobUpdate, LogRest, MAX_REST, MAX_UPDATES, NextClaim, Updated};
pub use stats::{Calls, Check, ImageStats, PoolStats, Stats};

/// What a worker says of itself when it starts, and again when something of it has changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Registration {
    /// How many jobs it runs at once.
    pub slots: u32,
    /// The queues it serves.
    pub queues: Vec<String>,
    pub version: String,
    #[serde(default)]
    pub host: String,
    /// The container engine and its version, in words.
    #[serde(default)]
    pub engine: String,
    /// What jobs may require of it.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What its operator lets jobs have. One that does not say is asked to take any job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<Offer>,
}

/// The master's answer to a registration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Welcome {
    /// How long a lease lasts after a heartbeat.
    pub lease: Span,
    /// How often to send one.
    pub heartbeat: Span,
    /// The attempts that the master believes this worker to hold, with what is
    /// left of their leases: a worker that was started again takes back those
    /// whose containers it finds. Nothing is renewed by it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<Claimed>,
}

/// A worker as `GET /api/worker` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Worker {
    pub name: WorkerName,
    /// Whether it was heard of within the last lease.
    pub online: bool,
    #[serde(flatten)]
    pub registration: Registration,
    /// The jobs it holds now.
    pub running: Vec<JobId>,
    /// Why it starts no jobs at the moment, by its last heartbeat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unwell: Option<String>,
    /// What it has counted, by its last heartbeat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<Box<Stats>>,
    /// Since when it is handed nothing new, because an operator wants it so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining_since: Option<Timestamp>,
    pub registered_at: Timestamp,
    pub seen_at: Timestamp,
}

/// Renews all leases of a worker at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    pub leases: Vec<LeaseRef>,
    /// Why this worker starts no jobs at the moment, in a sentence; it renews what
    /// it holds all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unwell: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<Box<Stats>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeartbeatReply {
    /// Counted by the worker from before it sent the heartbeat.
    pub lease: Span,
    /// Leases that last longer, because their jobs ask for it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub longer: BTreeMap<JobId, Span>,
    /// Attempts that are no longer this worker's: end them and say nothing more of them.
    pub lost: Vec<JobId>,
    /// Attempts that somebody wants ended: end them and report.
    pub cancel: Vec<JobId>,
    /// The master has forgotten this worker: register again.
    pub register: bool,
}

impl HeartbeatReply {
    /// How long the lease on this job lasts.
    pub fn lease_of(&self, job: JobId) -> Span {
        self.longer.get(&job).copied().unwrap_or(self.lease)
    }
}

/// How often a worker was to be told something, from an arbitrary beginning. What
/// it is, the answer to the next heartbeat says; nothing is missed by it when a
/// count that is another than the one known is followed by a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Orders {
    pub count: u64,
}

/// How much of a file is stored: where its next piece begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactHead {
    pub offset: u64,
}

/// A file is uploaded in pieces of at most so many bytes.
pub const ARTIFACT_PIECE: usize = 1 << 20;

/// How much of an attempt's log is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogHead {
    /// Length of the encoded frames: the offset at which the next upload begins.
    pub offset: u64,
    /// Bytes of standard output and standard error in them.
    pub output: u64,
    /// Bytes that gap frames stand for. `output + gap` is the position in what
    /// the command wrote, from which a restarted worker goes on.
    pub gap: u64,
    /// CRC-32 (IEEE) of the standard output and standard error bytes in order.
    pub crc32: u32,
}

/// The end of a log as its worker saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogEnd {
    pub offset: u64,
    pub crc32: u32,
}

/// The header that carries a lease token with a log upload.
pub const LEASE_HEADER: &str = "orchestra-lease";
