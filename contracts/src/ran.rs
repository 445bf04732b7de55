//! How to repeat an attempt by hand.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{AttemptNo, Size, WorkerName};

/// What an attempt's container was made from, as reported by its worker. Together with the job's
/// spec, this is enough to make another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ran {
    /// The image's name: `orchestra/gcc:0123456789ab`, or a registry reference.
    pub image: String,
    /// The engine's id of the image.
    pub image_id: String,
    /// The image's digest in its registry, if it comes from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The user it ran as, like `1000:1000`.
    pub user: String,
    pub cpus: f64,
    pub memory: Size,
    pub pids: u32,
    pub tmp: Size,
    /// The size of the largest file that it may write.
    pub file_size: Size,
    /// The path of `worker-files` on the engine's host, or the name of its volume; absent for a
    /// private folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<String>,
    /// The engine's runtime, if it is not the engine's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// Variables that come neither from the image nor from the job.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

/// The answer to `GET /api/job/{id}/repro`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Repro {
    /// The attempt that the command repeats.
    pub attempt: AttemptNo,
    pub worker: WorkerName,
    /// A shell command for the engine's host, on one line unless the job contains line feeds.
    pub command: String,
    /// The job's secrets by name, which the shell must have in its environment. No value is shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// What differs from the attempt when run by hand, in sentences.
    pub notes: Vec<String>,
}
