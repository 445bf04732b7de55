//! Stores the pieces of an attempt's log that a worker uploads.

use bytes::Bytes;
use orchestra_contracts::{
    AttemptNo, JobId, LeaseToken, WorkerName,
    frame::{FrameError, Frames},
    worker::LogHead,
};

use super::{Service, ServiceError};
use crate::{
    domain::{Proof, Refusal},
    store::{Appended, LogAppend},
};

/// A piece of a log, and its sender.
#[derive(Clone, Debug)]
pub struct Upload {
    pub job: JobId,
    pub attempt: AttemptNo,
    pub worker: WorkerName,
    /// Defaults to the worker's name, see [`LeaseToken::of_name`].
    pub token: Option<LeaseToken>,
    pub offset: u64,
    pub frames: Bytes,
}

impl Service {
    /// Stores frames, once. Returns how much is stored now.
    pub async fn append_log(&self, upload: Upload) -> Result<LogHead, ServiceError> {
        check(&upload.frames)?;
        let Upload { job, attempt, worker, token, offset, frames } = upload;
        let token = token.unwrap_or_else(|| LeaseToken::of_name(&worker));
        let proof = Proof { worker, token, attempt: Some(attempt) };
        let bytes = frames.len() as u64;
        let append = LogAppend { job, attempt, proof, offset, frames };
        match self.metrics.stored("append_log", self.store.append_log(append)).await? {
            Appended::Stored(head) => {
                self.metrics.log_uploaded(bytes);
                self.hub.wake(job);
                Ok(head)
            }
            Appended::Misplaced(head) => Err(ServiceError::LogOffset(head)),
            Appended::LeaseLost => {
                self.stale.log();
                Err(Refusal::LeaseLost.into())
            }
            Appended::NoSuchJob => Err(ServiceError::NoSuchJob(job)),
        }
    }
}

/// Checks that there are only whole, known frames, so that no reader meets others.
pub(super) fn check(frames: &Bytes) -> Result<(), FrameError> {
    Frames::new(frames.clone()).try_for_each(|frame| frame.map(drop))
}
