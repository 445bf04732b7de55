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
//! A lease is a duration, never an instant, so no clock is compared with the clock of another
//! machine. A worker counts it from before it sent the request that renewed it.

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

/// What a worker reports about itself when it starts, and again whenever any of it changes.
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
    /// The container engine and its version, as text.
    #[serde(default)]
    pub engine: String,
    /// Labels that jobs may require.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The limits that the worker's operator sets for jobs. A worker without an offer is assumed to
    /// take any job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<Offer>,
}

/// The master's answer to a registration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Welcome {
    /// How long a lease lasts after a heartbeat.
    pub lease: Span,
    /// How often to send a heartbeat.
    pub heartbeat: Span,
    /// The attempts that the master believes this worker to hold, with the time left on their
    /// leases. A restarted worker takes back those whose containers it finds. This renews no lease.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<Claimed>,
}

/// A worker as `GET /api/worker` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Worker {
    pub name: WorkerName,
    /// Whether it was seen within the last lease.
    pub online: bool,
    #[serde(flatten)]
    pub registration: Registration,
    /// The jobs it holds now.
    pub running: Vec<JobId>,
    /// Why it starts no jobs at the moment, as of its last heartbeat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unwell: Option<String>,
    /// Its counters, as of its last heartbeat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<Box<Stats>>,
    /// Since when an operator has been draining it: it is handed no new jobs.
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
    /// Why this worker starts no jobs at the moment, as a sentence. It still renews the leases it
    /// holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unwell: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<Box<Stats>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeartbeatReply {
    /// The worker counts it from before it sent the heartbeat.
    pub lease: Span,
    /// Leases that last longer because their jobs ask for it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub longer: BTreeMap<JobId, Span>,
    /// Attempts that no longer belong to this worker: end them and report nothing more about them.
    pub lost: Vec<JobId>,
    /// Attempts that somebody cancelled: end them and report.
    pub cancel: Vec<JobId>,
    /// The master does not know this worker any more: register again.
    pub register: bool,
}

impl HeartbeatReply {
    /// How long the lease on this job lasts.
    pub fn lease_of(&self, job: JobId) -> Span {
        self.longer.get(&job).copied().unwrap_or(self.lease)
    }
}

/// A counter, from an arbitrary start, that grows whenever the master has something to tell a
/// worker. The news itself is in the reply to the next heartbeat. A worker that sends a heartbeat
/// whenever the counter differs from the last known value misses nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Orders {
    pub count: u64,
}

/// How much of a file is stored; its next piece starts there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactHead {
    pub offset: u64,
}

/// The longest piece of a file in one upload, in bytes.
pub const ARTIFACT_PIECE: usize = 1 << 20;

/// How much of an attempt's log is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogHead {
    /// Length of the encoded frames: the offset at which the next upload starts.
    pub offset: u64,
    /// Bytes of standard output and standard error in them.
    pub output: u64,
    /// Bytes that gap frames stand for. `output + gap` is the position in the command's output from
    /// which a restarted worker continues.
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
