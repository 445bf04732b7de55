//! What a worker has counted and found since it started. It is sent with heartbeats, because
//! workers listen on no port: monitoring asks one master instead of every worker.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Size;

/// A worker's report about itself in a heartbeat. No decision depends on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Calls to its engine by purpose, like `create a container`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub engine: BTreeMap<String, Calls>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolStats>,
    /// Its image folders, and the registry images that it keeps sandboxes of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImageStats>,
    /// The results of `orchestra doctor` on the worker.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
}

/// Calls of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Calls {
    pub count: u64,
    /// Calls that the engine refused, failed at or did not answer in time. Answers that something
    /// does not exist, or already exists, are no failures.
    pub failed: u64,
    /// Their total duration, in milliseconds.
    pub total_ms: u64,
}

/// Sandboxes that are started ahead of their jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolStats {
    /// Sandboxes that wait for jobs now.
    pub ready: u64,
    /// Jobs that got a waiting sandbox.
    pub hits: u64,
    /// Jobs whose sandbox had to be made for them.
    pub misses: u64,
}

/// A job image on a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageStats {
    /// The name that jobs use.
    pub name: String,
    /// Whether the engine has the image in the folder's current version.
    pub built: bool,
    /// Including all layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<Timestamp>,
    /// Sandboxes of this image that wait for jobs now.
    #[serde(default)]
    pub ready: u64,
}

/// One thing that a worker needs, and whether it is available.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    pub name: String,
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// How to fix it, as a command if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}
