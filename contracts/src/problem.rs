//! Every error response, as `application/problem+json` (RFC 9457).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::worker::{ArtifactHead, LogHead};

pub const CONTENT_TYPE: &str = "application/problem+json";

/// The closed list of errors. Their names are part of the API: programs match on `type`, people
/// read `detail` and `hint`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ProblemKind {
    /// The body is not JSON, or does not match its declared type.
    #[serde(rename = "urn:orchestra:problem:unreadable")]
    Unreadable,
    /// A part of the path, the query or a header cannot be parsed.
    #[serde(rename = "urn:orchestra:problem:bad-parameter")]
    BadParameter,
    /// The token is missing or invalid.
    #[serde(rename = "urn:orchestra:problem:unauthenticated")]
    Unauthenticated,
    /// The token is valid, but does not allow this.
    #[serde(rename = "urn:orchestra:problem:forbidden")]
    Forbidden,
    /// A page of another site sent this request through somebody's browser.
    #[serde(rename = "urn:orchestra:problem:cross-site")]
    CrossSite,
    /// The `host` header does not name this master.
    #[serde(rename = "urn:orchestra:problem:wrong-host")]
    WrongHost,
    #[serde(rename = "urn:orchestra:problem:not-found")]
    NotFound,
    #[serde(rename = "urn:orchestra:problem:method-not-allowed")]
    MethodNotAllowed,
    #[serde(rename = "urn:orchestra:problem:request-timeout")]
    RequestTimeout,
    /// The job's state does not allow this.
    #[serde(rename = "urn:orchestra:problem:illegal-step")]
    IllegalStep,
    /// Another attempt, or none, holds the job now.
    #[serde(rename = "urn:orchestra:problem:lease-lost")]
    LeaseLost,
    /// An upload does not start where the stored log ends; `log` gives that position.
    #[serde(rename = "urn:orchestra:problem:log-offset")]
    LogOffset,
    /// The attempt cannot end yet because the stored log is incomplete; `log` gives its position.
    #[serde(rename = "urn:orchestra:problem:log-incomplete")]
    LogIncomplete,
    /// A piece does not start where the stored part of its file ends; `artifact` gives that
    /// position.
    #[serde(rename = "urn:orchestra:problem:artifact-offset")]
    ArtifactOffset,
    /// The attempt cannot end yet: a file that it lists is not stored as described.
    #[serde(rename = "urn:orchestra:problem:artifact-incomplete")]
    ArtifactIncomplete,
    /// The body is too large, or would make the data that it is added to too large.
    #[serde(rename = "urn:orchestra:problem:too-large")]
    TooLarge,
    #[serde(rename = "urn:orchestra:problem:uri-too-long")]
    UriTooLong,
    #[serde(rename = "urn:orchestra:problem:unsupported-media-type")]
    UnsupportedMediaType,
    #[serde(rename = "urn:orchestra:problem:range-not-satisfiable")]
    RangeNotSatisfiable,
    /// The body can be read, but is refused; `errors` lists the fields and the reasons.
    #[serde(rename = "urn:orchestra:problem:invalid")]
    Invalid,
    /// The name is already in use.
    #[serde(rename = "urn:orchestra:problem:exists")]
    Exists,
    /// The idempotency key was already used for a different request.
    #[serde(rename = "urn:orchestra:problem:idempotency-mismatch")]
    IdempotencyMismatch,
    /// The database is unavailable at the moment; try again.
    #[serde(rename = "urn:orchestra:problem:unavailable")]
    Unavailable,
    /// A defect in Orchestra. The master's log has the details under the request id.
    #[serde(rename = "urn:orchestra:problem:internal")]
    Internal,
}

/// One invalid field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) into the body; empty for the whole body.
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
    /// Set by the two problems about a log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogHead>,
    /// Set by the two problems about an artifact.
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
