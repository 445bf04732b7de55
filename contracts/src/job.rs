//! Jobs and attempts as the API returns them.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{AttemptNo, JobId, JobSpec, Outcome, Ran, Usage, WorkerName, explain::Warning};

/// The state of a job.
///
/// The first five are numbered 0 to 4 and can also be read by number. Names are case-insensitive.
/// `Cancelled` was added later and has no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobStatus {
    /// Waits for a worker, or for its next attempt.
    Pending,
    /// A worker holds it and prepares its container.
    Assigned,
    Running,
    /// Its command exited with code 0.
    Completed,
    /// It ended in any other way and has no attempts left.
    Failed,
    Cancelled,
}

impl JobStatus {
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::Assigned,
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Whether the job has ended for good.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Assigned => "Assigned",
            Self::Running => "Running",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
        }
    }

    fn from_number(number: u64) -> Option<Self> {
        Self::ALL[..5].get(usize::try_from(number).ok()?).copied()
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for JobStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let by_name =
            Self::ALL.into_iter().find(|status| status.as_str().eq_ignore_ascii_case(text));
        by_name.or_else(|| Self::from_number(text.parse().ok()?)).ok_or_else(|| {
            format!("{text:?} is not a status: Pending, Assigned, Running, Completed, Failed or Cancelled")
        })
    }
}

impl Serialize for JobStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for JobStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = JobStatus;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status name, or its number from 0 to 4")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<JobStatus, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<JobStatus, E> {
                JobStatus::from_number(number)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(number), &self))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A job as the API returns it: the fields of the spec, followed by its current state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    pub id: JobId,
    #[serde(flatten)]
    pub spec: JobSpec,
    pub status: JobStatus,
    /// The worker that holds the job, or held it last.
    pub assigned_worker: Option<WorkerName>,
    /// How many of `maxRetries` have been used.
    pub retry_count: u32,
    /// For a job of an array: the id of the array's first job, and this job's own index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub array_id: Option<JobId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub array_index: Option<u32>,
    /// The newest attempt; `null` until the first claim.
    pub attempt: Option<AttemptNo>,
    /// A cancellation was requested and the worker has not reported the end yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancelling: bool,
    /// The tail of the newest attempt's standard output, at most 64 KiB. Bytes that are not UTF-8
    /// are replaced. The log resource has every byte.
    pub output: String,
    /// The same for standard error.
    pub error: String,
    /// Whether `output` or `error` is only a tail.
    pub output_truncated: bool,
    pub exit_code: Option<i32>,
    pub outcome: Option<Outcome>,
    /// The outcome as one line for people.
    pub reason: Option<String>,
    pub usage: Option<Usage>,
    pub created_at: Timestamp,
    /// When the newest attempt's command started.
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// The job is not claimed before this time: the end of the retry backoff, or else the time
    /// given at submission. (The field of the same name in the spec stays empty here.)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// Possible surprises for the submitter, returned in the response to the submission. Jobs that
    /// ask for the same thing get each warning once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

impl Job {
    /// For a job of an array: the array's id and the job's own index.
    pub fn element(&self) -> Option<(JobId, u32)> {
        self.array_id.zip(self.array_index)
    }
}

/// One attempt at a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    pub number: AttemptNo,
    pub worker: WorkerName,
    pub claimed_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub outcome: Option<Outcome>,
    pub reason: Option<String>,
    pub exit_code: Option<i32>,
    pub usage: Option<Usage>,
    /// Bytes of standard output and standard error stored so far.
    pub log_bytes: u64,
    /// Milliseconds from the submission, or from the end of the previous attempt, to the claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_ms: Option<u64>,
    /// What its container was made from, once there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ran: Option<Ran>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_read_by_any_name_and_number() {
        let read = |json: &str| serde_json::from_str::<JobStatus>(json).ok();
        assert_eq!(read("\"pending\""), Some(JobStatus::Pending));
        assert_eq!(read("\"RUNNING\""), Some(JobStatus::Running));
        assert_eq!(read("4"), Some(JobStatus::Failed));
        assert_eq!(read("\"3\""), Some(JobStatus::Completed));
        assert_eq!(read("5"), None);
        assert_eq!(read("\"Done\""), None);
    }

    #[test]
    fn statuses_are_written_in_pascal_case() {
        for status in JobStatus::ALL {
            assert_eq!(serde_json::to_string(&status).unwrap(), format!("\"{status}\""));
        }
    }
}
