//! A worker says what has become of an attempt.

use bytes::{Bytes, BytesMut};
use orchestra_contracts::{
    AttemptNo, FieldError, Job, JobStatus, LeaseToken, Outcome,
    frame::{Body, Frame, MAX_PAYLOAD, Stream},
    worker::{JobUpdate, LogHead},
};

use super::{Service, ServiceError, artifacts, tail};
use crate::{
    domain::{self, JobEvent, Proof, Refusal, Tail},
    store::{Appended, LogAppend},
};

/// What a shell can tell (waitpid(2)): eight bits.
const EXIT_CODES: std::ops::RangeInclusive<i32> = 0..=255;

impl Service {
    /// Started, ended, or handed back. The same report again gets the same answer.
    pub async fn update(&self, update: JobUpdate) -> Result<Job, ServiceError> {
        let updated = self.carry_out(update).await;
        if let Err(ServiceError::Refused(Refusal::LeaseLost)) = updated {
            self.stale.update();
        }
        updated
    }

    async fn carry_out(&self, update: JobUpdate) -> Result<Job, ServiceError> {
        let proof = proof_of(&update);
        let (job, _) = match update.status {
            JobStatus::Running => {
                self.apply(update.id, JobEvent::Started { proof, ran: update.ran }).await?
            }
            JobStatus::Pending => self.end(update, proof, Outcome::HandedBack).await?,
            JobStatus::Completed | JobStatus::Failed => {
                let outcome = outcome_of(&update)?;
                self.end(update, proof, outcome).await?
            }
            JobStatus::Assigned | JobStatus::Cancelled => {
                return Err(ServiceError::NotForWorkers(update.status));
            }
        };
        self.show(job).await
    }

    async fn end(
        &self,
        update: JobUpdate,
        proof: Proof,
        outcome: Outcome,
    ) -> Result<(domain::Job, domain::Effects), ServiceError> {
        let left = artifacts::left(&update)?;
        let tail = if is_silent(&update) {
            Some(Tail::default())
        } else {
            let job = self.store.job(update.id).await?.ok_or(ServiceError::NoSuchJob(update.id))?;
            // Looked at only to save work: whether the lease holds is decided by the machine.
            if holds(&job, &proof) { self.close_log(&job, &update, &proof).await? } else { None }
        };
        let (usage, log) = (update.usage, update.log);
        self.apply(update.id, JobEvent::Ended { proof, outcome, usage, log, tail, left }).await
    }

    /// The tail of the finished log. A worker that uploads none sends its
    /// output here, and it becomes the log, so that all readers find it.
    async fn close_log(
        &self,
        job: &domain::Job,
        update: &JobUpdate,
        proof: &Proof,
    ) -> Result<Option<Tail>, ServiceError> {
        let mut head = job.log;
        if head.offset == 0 && update.log.is_none() {
            let frames = self.frames_of(update);
            if !frames.is_empty() {
                head = self.append_output(job, proof, frames).await?.unwrap_or(head);
            }
        }
        let attempt = AttemptNo(job.attempts);
        Ok(Some(tail::of(&*self.store, job.id, attempt, head, tail::THOROUGH).await?))
    }

    /// In one piece, so that a repeated report finds all of it or nothing.
    async fn append_output(
        &self,
        job: &domain::Job,
        proof: &Proof,
        frames: Bytes,
    ) -> Result<Option<LogHead>, ServiceError> {
        let attempt = AttemptNo(job.attempts);
        let append = LogAppend { job: job.id, attempt, proof: proof.clone(), offset: 0, frames };
        Ok(match self.store.append_log(append).await? {
            Appended::Stored(head) | Appended::Misplaced(head) => Some(head),
            Appended::LeaseLost | Appended::NoSuchJob => None,
        })
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

/// Whether the log is said to be empty. The machine compares that with what is stored.
fn is_silent(update: &JobUpdate) -> bool {
    update.log.is_some_and(|log| log.offset == 0)
}

fn proof_of(update: &JobUpdate) -> Proof {
    let worker = update.assigned_worker.clone();
    let token = update.lease_token.clone().unwrap_or_else(|| LeaseToken::of_name(&worker));
    Proof { worker, token, attempt: update.attempt }
}

fn holds(job: &domain::Job, proof: &Proof) -> bool {
    let newest = proof.attempt.is_none_or(|attempt| attempt.0 == job.attempts);
    let lease = job.lease();
    newest && lease.is_some_and(|it| it.worker == proof.worker && it.token == proof.token)
}

/// What the report says of the end; the exit code alone is enough, and so is the status.
fn outcome_of(update: &JobUpdate) -> Result<Outcome, ServiceError> {
    let completed = update.status == JobStatus::Completed;
    if let Some(code) = update.exit_code.filter(|code| !EXIT_CODES.contains(code)) {
        return Err(ServiceError::field("/exitCode", format!("{code} is not 0 to 255")));
    }
    let (field, outcome) = match (&update.outcome, update.exit_code) {
        (Some(outcome), _) => ("/outcome", outcome.clone()),
        (None, Some(code)) => ("/exitCode", Outcome::Exited { code }),
        (None, None) => ("/status", Outcome::Exited { code: i32::from(!completed) }),
    };
    let said = update.exit_code.zip(outcome.exit_code());
    let mut errors = Vec::new();
    let mut refuse = |pointer: &str, detail: String| {
        errors.push(FieldError { pointer: pointer.to_owned(), detail });
    };
    if matches!(outcome, Outcome::Poison { .. }) {
        refuse(field, "says poison, which only the master can tell".to_owned());
    }
    if outcome.is_success() != completed {
        refuse(field, format!("says {outcome:?}, which does not go with {}", update.status));
    }
    if let Some((code, other)) = said.filter(|(code, other)| code != other) {
        refuse("/exitCode", format!("says {code} where the outcome says {other}"));
    }
    if errors.is_empty() { Ok(outcome) } else { Err(ServiceError::Invalid(errors)) }
}
