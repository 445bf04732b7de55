//! The errors of calls to a master.

use std::error::Error;

use orchestra_contracts::{Problem, ProblemKind};

/// Why a call failed. The texts are complete phrases for people; callers need not add any context.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The address cannot belong to a master.
    #[error("{url:?} is not the address of a master: {reason}")]
    Address { url: String, reason: String },
    /// The token is malformed or cannot be read. The text never repeats it.
    #[error("the token cannot be used: {0}")]
    Token(String),
    /// The master understood the request and refused it.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// There was no answer, or the connection broke before the answer was complete.
    #[error("no answer from {url}: {reason}")]
    Unreachable {
        url: String,
        reason: String,
        /// Whether the call may have arrived and taken effect.
        sent: bool,
    },
    /// There was an answer, but not one that a master of this version sends.
    #[error("what answers at {url} is not an Orchestra that this program understands: {reason}")]
    Unreadable { url: String, status: u16, reason: String },
}

impl ClientError {
    /// Whether the same call may succeed later without any change by the caller.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Address { .. } | Self::Token(_) => false,
            Self::Refused(problem) => matches!(
                problem.kind,
                ProblemKind::RequestTimeout | ProblemKind::Unavailable | ProblemKind::Internal
            ),
            Self::Unreachable { .. } => true,
            // A proxy in front of a restarting master.
            Self::Unreadable { status, .. } => matches!(status, 408 | 429 | 500..),
        }
    }

    /// The kind of the refusal, if it was one.
    pub fn kind(&self) -> Option<ProblemKind> {
        match self {
            Self::Refused(problem) => Some(problem.kind),
            _ => None,
        }
    }

    /// An error of the transport, described by its innermost cause. The outer ones repeat the
    /// address and say "error sending request".
    pub(crate) fn transport(url: &str, error: &reqwest::Error) -> Self {
        let reason = if error.is_timeout() {
            "it took too long".to_owned()
        } else {
            let mut cause: &dyn Error = error;
            while let Some(source) = cause.source() {
                cause = source;
            }
            let cause = cause.to_string();
            if cause.contains("certificate") {
                format!("{cause}; ORCHESTRA_CA_FILE can name the authority that vouches for it")
            } else {
                cause
            }
        };
        Self::Unreachable { url: url.to_owned(), reason, sent: !error.is_connect() }
    }

    pub(crate) fn unreadable(url: &str, status: u16, reason: impl Into<String>) -> Self {
        Self::Unreadable { url: url.to_owned(), status, reason: reason.into() }
    }
}
