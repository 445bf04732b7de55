//! Closes the log of an attempt that ends: stores the rest of it, if the report carries that, and
//! finds the tail that is shown with the job.

use bytes::{Bytes, BytesMut};
use orchestra_contracts::{
    AttemptNo,
    frame::{Body, Frame, MAX_PAYLOAD, Stream},
    worker::JobUpdate,
};

use super::{Service, ServiceError, log, tail};
use crate::{
    domain::{self, Proof, Tail},
    store::LogAppend,
};

/// The effect of an end report on the log.
#[derive(Debug, Default)]
pub(super) struct Closing {
    pub(super) rest: Option<LogAppend>,
    /// `None` if the report will be refused, or was accepted before.
    pub(super) tail: Option<Tail>,
}

impl Service {
    /// A worker that uploads no log sends its output in the report. It becomes the log, so that all
    /// readers find it.
    pub(super) async fn close_log(
        &self,
        update: &JobUpdate,
        proof: &Proof,
    ) -> Result<Closing, ServiceError> {
        let rest = rest_of(update, proof)?;
        let begins = match (&rest, update.log) {
            (Some(rest), _) => rest.offset == 0,
            // It is said to be empty. The machine compares that with what is stored.
            (None, log) => log.is_some_and(|log| log.offset == 0),
        };
        if begins {
            let frames = rest.as_ref().map(|rest| rest.frames.clone()).unwrap_or_default();
            return Ok(Closing { rest, tail: Some(tail::of_whole(&frames)) });
        }
        let job = self.store.job(update.id).await?.ok_or(ServiceError::NoSuchJob(update.id))?;
        // Looked at only to save work: whether the lease holds is decided by the machine.
        if !holds(&job, proof) {
            return Ok(Closing::default());
        }
        let attempt = AttemptNo(job.attempts);
        if job.log.offset == 0 && update.log.is_none() {
            let frames = self.frames_of(update);
            let tail = Some(tail::of_whole(&frames));
            // In one piece, so that a repeated report finds all of it or nothing.
            let append =
                LogAppend { job: job.id, attempt, proof: proof.clone(), offset: 0, frames };
            let rest = (!append.frames.is_empty()).then_some(append);
            return Ok(Closing { rest, tail });
        }
        let (store, bound) = (&*self.store, tail::THOROUGH);
        let tail = match &rest {
            None => Some(tail::of(store, job.id, attempt, job.log, bound).await?),
            Some(rest) => tail::with_rest(store, job.log, rest, bound).await?,
        };
        Ok(Closing { rest, tail })
    }

    fn frames_of(&self, update: &JobUpdate) -> Bytes {
        let time = u64::try_from(self.clock.now().as_microsecond()).unwrap_or_default();
        let mut frames = BytesMut::new();
        for (stream, text) in [(Stream::Stdout, &update.output), (Stream::Stderr, &update.error)] {
            for piece in text.as_deref().unwrap_or_default().as_bytes().chunks(MAX_PAYLOAD) {
                let body = Body::Bytes(stream, Bytes::copy_from_slice(piece));
                Frame { time, body }.encode(&mut frames);
            }
        }
        frames.freeze()
    }
}

/// The rest of the log in the report, and its offset: it ends where the log ends.
fn rest_of(update: &JobUpdate, proof: &Proof) -> Result<Option<LogAppend>, ServiceError> {
    let Some(rest) = &update.rest else { return Ok(None) };
    let refuse = |detail: &str| Err(ServiceError::field("/rest", detail));
    let frames = rest.0.clone();
    if let Err(error) = log::check(&frames) {
        return refuse(&format!("is not whole log frames: {error}"));
    }
    let (Some(attempt), Some(log)) = (update.attempt, update.log) else {
        return refuse("comes without an attempt, or without the log's end");
    };
    let Some(offset) = log.offset.checked_sub(frames.len() as u64) else {
        return refuse("is longer than the log is said to be");
    };
    let proof = proof.clone();
    Ok(Some(LogAppend { job: update.id, attempt, proof, offset, frames }))
}

fn holds(job: &domain::Job, proof: &Proof) -> bool {
    let newest = proof.attempt.is_none_or(|attempt| attempt.0 == job.attempts);
    let lease = job.lease();
    newest && lease.is_some_and(|it| it.worker == proof.worker && it.token == proof.token)
}
