//! What a worker has counted and found since it started. It rides along with heartbeats, for a
//! worker listens on no port: whoever looks after many asks one master.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Size;

/// What a worker tells of itself with a heartbeat. No decision depends on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// The calls of its engine, by what they were to do, like `create a container`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub engine: BTreeMap<String, Calls>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolStats>,
    /// The folders of job images that it has, and images of registries that it keeps sandboxes of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImageStats>,
    /// What `orchestra doctor` says there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
}

/// Calls of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Calls {
    pub count: u64,
    /// Those that it refused or failed at, or did not answer in time. That something is not there,
    /// or is there already, is no failure.
    pub failed: u64,
    /// How long they took together, in milliseconds.
    pub total_ms: u64,
}

/// Sandboxes that are started ahead of their jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolStats {
    /// So many wait now.
    pub ready: u64,
    /// Jobs that got one.
    pub hits: u64,
    /// Jobs that had one made for them.
    pub misses: u64,
}

/// A job image on a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageStats {
    /// As jobs name it.
    pub name: String,
    /// Whether the engine has it as its folder is now.
    pub built: bool,
    /// With all layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<Timestamp>,
    /// Sandboxes of it that wait for jobs now.
    #[serde(default)]
    pub ready: u64,
}

/// One thing that a worker needs, and whether it is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    pub name: String,
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// What mends it, a command where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}
