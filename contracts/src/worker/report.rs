//! What a worker reports about an attempt, and what it may send and claim along with the end.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Claimed, LogEnd, claim};
use crate::{
    AttemptNo, Job, JobId, JobStatus, LeaseToken, Outcome, Problem, Ran, Usage, WorkerName,
    files::{Artifact, Changes},
};

/// The body of `POST /api/job/update`.
///
/// A worker may send back the whole job that it claimed with a few fields changed, so unknown
/// fields are ignored, not refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobUpdate {
    pub id: JobId,
    /// `Running`, `Completed`, `Failed`; `Pending` hands the job back unfinished.
    pub status: JobStatus,
    pub assigned_worker: WorkerName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<AttemptNo>,
    /// If absent, the worker's name stands in, which matches only a lease that was claimed with a
    /// bare name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_token: Option<LeaseToken>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Standard output, from workers that upload no log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Standard error, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// What the container is made from. Sent with `Running`, or with the end of an attempt that was
    /// never reported as running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ran: Option<Box<Ran>>,
    /// What the worker uploaded, including `rest`. It must agree with the stored log before the
    /// attempt may end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogEnd>,
    /// The last frames of the log, sent here instead of in an upload. They end at the offset in
    /// `log`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<LogRest>,
    /// The files that the worker uploaded. Each must be completely stored before the attempt may
    /// end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
    /// How the command changed the files in its working folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<Box<Changes>>,
    /// With an end: the worker's claim for its freed slots. The answer then has no job, and returns
    /// the claimed jobs in `next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<NextClaim>,
}

/// The most reports in one list: as many as one claim may return jobs.
pub const MAX_UPDATES: usize = 256;

/// The result of one report in a list, or of one that carries a claim. Reports are independent:
/// each is accepted or refused as if it had come alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Updated {
    pub id: JobId,
    /// The job as it is now; absent if the report was refused, or carried a claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Box<Job>>,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// The jobs that the claim returned. A master that does not support claims in reports returns
    /// none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next: Vec<Claimed>,
}

/// A claim by the reporting worker. It does not wait for jobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NextClaim {
    /// The most jobs to return.
    #[serde(default = "claim::one")]
    pub slots: u32,
    /// The queues to take from.
    #[serde(default = "claim::default_queues")]
    pub queues: Vec<String>,
    /// As in [`ClaimTerms::request_id`](super::ClaimTerms::request_id): the same report sent again
    /// gets the same leases, and so does a claim with this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// The longest rest, in bytes. A full list of reports, each with such a rest, takes half of the
/// master's limit for a body. Longer rests gain little: the cost of a separate upload is small
/// beside its bytes.
pub const MAX_REST: usize = 16 << 10;

/// Whole encoded frames ([`crate::frame`]), at most [`MAX_REST`] bytes; base64 in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRest(pub Bytes);

impl Serialize for LogRest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for LogRest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = LogRest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "base64 of at most {MAX_REST} bytes")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<LogRest, E> {
                // The error does not quote the text, which may be output of a job.
                let unlike = || E::custom(format!("is not base64 of at most {MAX_REST} bytes"));
                let bytes = STANDARD.decode(text).map_err(|_| unlike())?;
                if bytes.len() > MAX_REST { Err(unlike()) } else { Ok(LogRest(bytes.into())) }
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_is_base64_within_bounds() {
        for length in [0, 1, MAX_REST] {
            let rest = LogRest(vec![0xFE; length].into());
            let text = serde_json::to_string(&rest).unwrap();
            assert_eq!(serde_json::from_str::<LogRest>(&text).unwrap(), rest);
        }
        let beyond = serde_json::to_string(&LogRest(vec![0; MAX_REST + 1].into())).unwrap();
        for wrong in [beyond.as_str(), "\"*\"", "\"YQ\"", "7", "[97]", "null"] {
            assert!(serde_json::from_str::<LogRest>(wrong).is_err(), "{wrong}");
        }
    }
}
