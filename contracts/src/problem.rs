//! Every refusal, as `application/problem+json` (RFC 9457).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::worker::{ArtifactHead, LogHead};

pub const CONTENT_TYPE: &str = "application/problem+json";

/// The closed list of refusals. Their names are part of the API: programs match
/// on `type`, people read `detail` and `hint`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ProblemKind {
    /// The body is not JSON, or not what it says it is.
    #[serde(rename = "urn:orchestra:problem:unreadable")]
    Unreadable,
    /// A part of the address or a header does not parse.
    #[serde(rename = "urn:orchestra:problem:bad-parameter")]
    BadParameter,
    /// No token, or none that is valid.
    #[serde(rename = "urn:orchestra:problem:unauthenticated")]
    Unauthenticated,
    /// The token is valid, and not for this.
    #[serde(rename = "urn:orchestra:problem:forbidden")]
    Forbidden,
    /// A page of another site asks through somebody's browser.
    #[serde(rename = "urn:orchestra:problem:cross-site")]
    CrossSite,
    /// The header `host` is no name of this master.
    #[serde(rename = "urn:orchestra:problem:wrong-host")]
    WrongHost,
    #[serde(rename = "urn:orchestra:problem:not-found")]
    NotFound,
    #[serde(rename = "urn:orchestra:problem:method-not-allowed")]
    MethodNotAllowed,
    #[serde(rename = "urn:orchestra:problem:request-timeout")]
    RequestTimeout,
    /// The job is not in a state in which this can be done.
    #[serde(rename = "urn:orchestra:problem:illegal-step")]
    IllegalStep,
    /// Another attempt, or nobody, holds the job now.
    #[serde(rename = "urn:orchestra:problem:lease-lost")]
    LeaseLost,
    /// An upload does not begin where the stored log ends; `log` says where that is.
    #[serde(rename = "urn:orchestra:problem:log-offset")]
    LogOffset,
    /// The attempt cannot end yet: the stored log is not all of it; `log` says how far it is.
    #[serde(rename = "urn:orchestra:problem:log-incomplete")]
    LogIncomplete,
    /// A piece does not begin where what is stored of its file ends; `artifact` says where that is.
    #[serde(rename = "urn:orchestra:problem:artifact-offset")]
    ArtifactOffset,
    /// The attempt cannot end yet: a file that it names is not stored as it says.
    #[serde(rename = "urn:orchestra:problem:artifact-incomplete")]
    ArtifactIncomplete,
    /// The body, or what the body would be added to.
    #[serde(rename = "urn:orchestra:problem:too-large")]
    TooLarge,
    #[serde(rename = "urn:orchestra:problem:uri-too-long")]
    UriTooLong,
    #[serde(rename = "urn:orchestra:problem:unsupported-media-type")]
    UnsupportedMediaType,
    #[serde(rename = "urn:orchestra:problem:range-not-satisfiable")]
    RangeNotSatisfiable,
    /// Readable, but refused; `errors` says which fields and why.
    #[serde(rename = "urn:orchestra:problem:invalid")]
    Invalid,
    /// There is one of this name.
    #[serde(rename = "urn:orchestra:problem:exists")]
    Exists,
    /// The idempotency key was used for something else.
    #[serde(rename = "urn:orchestra:problem:idempotency-mismatch")]
    IdempotencyMismatch,
    /// The database cannot be used right now; try again.
    #[serde(rename = "urn:orchestra:problem:unavailable")]
    Unavailable,
    /// A defect of ours. The log of the master has the details under the request id.
    #[serde(rename = "urn:orchestra:problem:internal")]
    Internal,
}

/// One wrong field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) into the body; empty for the whole of it.
    pub pointer: String,
    pub detail: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    #[serde(rename = "type")]
    pub kind: ProblemKind,
    pub title: String,
    pub status: u16,
    pub detail: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// For the two problems about a log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogHead>,
    /// For the two problems about an artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<ArtifactHead>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)?;
        for error in &self.errors {
            write!(f, "; {} {}", error.pointer, error.detail)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}
