//! How to run by hand what an attempt ran.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{AttemptNo, Size, WorkerName};

/// What an attempt's container was made of, as its worker says it. With the job's spec it is
/// all that it takes to make another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ran {
    /// As it is called: `orchestra/gcc:0123456789ab`, or a reference of a registry.
    pub image: String,
    /// The engine's own id.
    pub image_id: String,
    /// What its registry calls it, where it comes out of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Whom it ran as, like `1000:1000`.
    pub user: String,
    pub cpus: f64,
    pub memory: Size,
    pub pids: u32,
    pub tmp: Size,
    /// The largest file that it may write.
    pub file_size: Size,
    /// worker-files on the engine's host, or the volume that it is; absent for a private folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<String>,
    /// The engine's runtime, where it is not its default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// Variables that are neither the image's nor the job's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

/// The answer of `GET /api/job/{id}/repro`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Repro {
    /// Which attempt it repeats.
    pub attempt: AttemptNo,
    pub worker: WorkerName,
    /// For a shell on the engine's host, in one line unless the job has line feeds in it.
    pub command: String,
    /// The job's secrets, which the shell has to have in its environment: no value is shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// What is not the same by hand, in sentences.
    pub notes: Vec<String>,
}
