//! Submissions of jobs, and their results.

use std::fmt;

use jiff::Timestamp;
use orchestra_contracts::{ContentHash, IdempotencyKey, JobId, Span, TokenId};

use crate::domain::{Job, NewJob};

/// How long the keys of submissions are kept.
pub const KEYS_KEPT: Span = Span::from_secs(24 * 60 * 60);

/// Identifies a submission, so that it is carried out once however often it arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    /// The owner of the key; two tokens may use the same key.
    pub token: Option<TokenId>,
    pub key: IdempotencyKey,
    /// The fingerprint of the whole submission.
    pub fingerprint: Fingerprint,
}

/// A digest that tells submissions apart without revealing their content.
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

/// The result of a submission.
#[derive(Clone, Debug, PartialEq)]
pub enum Submitted {
    New(Vec<Job>),
    /// The same was submitted with this key before. Some of these jobs may be deleted by now.
    Before(Vec<JobId>),
    /// Another submission has this key.
    Differs,
    /// Nothing was added: these jobs, which others wait for, do not exist.
    NoSuchJobs(Vec<JobId>),
    /// Nothing was added: these uploads do not exist or are not complete.
    NoSuchUploads(Vec<ContentHash>),
}

impl Submitted {
    /// The result for a later submission with the same key.
    pub(super) fn again(&self) -> Self {
        match self {
            Self::New(jobs) => Self::Before(jobs.iter().map(|job| job.id).collect()),
            known => known.clone(),
        }
    }
}
