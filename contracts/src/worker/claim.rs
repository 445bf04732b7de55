//! Claims, and the leases that they return.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{AttemptNo, Job, JobId, LeaseToken, Span, WorkerName};

/// The body of `POST /api/job/claim`: a bare name, or the long form.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ClaimRequest {
    /// `"worker-name"`: at most one job, without waiting. The answer is the [`Job`] itself.
    Name(WorkerName),
    /// The answer is a list of [`Claimed`].
    Full(ClaimTerms),
}

/// The long form of a claim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimTerms {
    pub worker: WorkerName,
    /// The most jobs to return.
    #[serde(default = "one")]
    pub slots: u32,
    /// How long to wait if there are no jobs; zero means not at all.
    #[serde(default)]
    pub wait: Span,
    /// The queues to take from.
    #[serde(default = "default_queues")]
    pub queues: Vec<String>,
    /// Chosen by the worker. A repeated claim with the same id gets the same leases again, so a
    /// lost answer costs nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

pub(super) fn one() -> u32 {
    1
}

pub(super) fn default_queues() -> Vec<String> {
    vec!["default".to_owned()]
}

impl<'de> Deserialize<'de> for ClaimRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = ClaimRequest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a worker name, or an object with \"worker\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ClaimRequest, E> {
                text.parse().map(ClaimRequest::Name).map_err(E::custom)
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<ClaimRequest, A::Error> {
                ClaimTerms::deserialize(de::value::MapAccessDeserializer::new(map))
                    .map(ClaimRequest::Full)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// One job handed to one worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claimed {
    pub job: Job,
    pub lease: Lease,
}

/// The right to run one attempt for a limited time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    pub attempt: AttemptNo,
    pub token: LeaseToken,
    pub ttl: Span,
}

/// Identifies one attempt and proves the right to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaseRef {
    pub job: JobId,
    pub attempt: AttemptNo,
    pub token: LeaseToken,
}
