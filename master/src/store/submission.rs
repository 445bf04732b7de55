//! What is handed in, and what became of it.

use std::fmt;

use jiff::Timestamp;
use orchestra_contracts::{ContentHash, IdempotencyKey, JobId, Span, TokenId};

use crate::domain::{Job, NewJob};

/// How long the keys of submissions are kept.
pub const KEYS_KEPT: Span = Span::from_secs(24 * 60 * 60);

/// Names a submission, so that it is done once however often it arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    /// Whose key it is; two tokens may use the same.
    pub token: Option<TokenId>,
    pub key: IdempotencyKey,
    /// Of all that was submitted.
    pub fingerprint: Fingerprint,
}

/// Tells one submission from another without telling what is in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(..)")
    }
}

/// One submission.
#[derive(Clone, Debug)]
pub struct Submission {
    pub jobs: Vec<NewJob>,
    pub once: Option<Once>,
    pub now: Timestamp,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Submitted {
    New(Vec<Job>),
    /// The same was submitted with this key before; some of these jobs may be deleted by now.
    Before(Vec<JobId>),
    /// Something else was submitted with this key.
    Differs,
    /// Nothing was added: there are no such jobs to wait for.
    NoSuchJobs(Vec<JobId>),
    /// Nothing was added: these files are not there, or not whole.
    NoSuchUploads(Vec<ContentHash>),
}

impl Submitted {
    /// What it is to a later submission that has the same key.
    pub(super) fn again(&self) -> Self {
        match self {
            Self::New(jobs) => Self::Before(jobs.iter().map(|job| job.id).collect()),
            known => known.clone(),
        }
    }
}
