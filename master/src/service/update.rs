//! Handles a worker's report of an attempt.

use orchestra_contracts::{
    FieldError, Job, JobStatus, LeaseToken, Outcome,
    worker::{Claimed, JobUpdate},
};
use tokio::time::Instant;

use super::{Service, ServiceError, artifacts, closing::Closing, rest_bytes};
use crate::{
    domain::{JobEvent, Proof, Refusal},
    store::{ClaimSpec, Report},
};

/// The range of exit codes (waitpid(2)): eight bits.
const EXIT_CODES: std::ops::RangeInclusive<i32> = 0..=255;

/// The answer to a report.
#[derive(Debug)]
pub enum ReportReply {
    /// The job after the report.
    Job(Box<Job>),
    /// The jobs that the report's claim got.
    Next(Vec<Claimed>),
}

impl Service {
    /// Handles a report: started, ended, or handed back. A repeated report gets the same answer.
    pub async fn update(&self, update: JobUpdate) -> Result<ReportReply, ServiceError> {
        let updated = self.carry_out(update).await;
        if let Err(ServiceError::Refused(Refusal::LeaseLost)) = updated {
            self.stale.update();
        }
        updated
    }

    async fn carry_out(&self, mut update: JobUpdate) -> Result<ReportReply, ServiceError> {
        let proof = proof_of(&update);
        check_company(&update)?;
        let spec = match update.claim.take() {
            None => None,
            Some(terms) => Some(self.claim_spec(proof.worker.clone(), terms, "/claim")?),
        };
        let report = match update.status {
            JobStatus::Running => {
                let event = JobEvent::Started { proof, ran: update.ran };
                Report { job: update.id, event, rest: None }
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
        if let Some(spec) = spec {
            return self.report_and_claim(report, spec).await.map(ReportReply::Next);
        }
        let (job, _) = self.report(report).await?;
        Ok(ReportReply::Job(Box::new(self.show(job).await?)))
    }

    async fn end(
        &self,
        update: JobUpdate,
        proof: Proof,
        outcome: Outcome,
    ) -> Result<Report, ServiceError> {
        let results = artifacts::results(&update)?;
        let Closing { rest, tail } = self.close_log(&update, &proof).await?;
        let (usage, log) = (update.usage, update.log);
        let event = JobEvent::Ended { proof, outcome, usage, log, tail, results };
        Ok(Report { job: update.id, event, rest })
    }

    /// Stores a report with a claim. If the report is refused, the jobs of the claim are given
    /// back.
    async fn report_and_claim(
        &self,
        report: Report,
        spec: ClaimSpec,
    ) -> Result<Vec<Claimed>, ServiceError> {
        let begun = Instant::now();
        let (id, rest) = (report.job, rest_bytes(&report));
        let mut found = None;
        let applying = async {
            let (applied, handout) =
                self.dispatcher.report(&*self.store, report, self.rules(), spec).await;
            found = Some(handout);
            applied
        };
        let applied = self.metrics.stored("apply", applying).await?;
        self.reported(id, applied, rest, begun.elapsed())?;
        let Some(Ok(handout)) = found else {
            self.metrics.claim_failed();
            return Ok(Vec::new());
        };
        let jobs = handout.accept();
        self.count_claim(&jobs);
        Ok(self.delivered(&jobs))
    }
}

/// Checks that only the report of an end carries a log, a claim or results.
fn check_company(update: &JobUpdate) -> Result<(), ServiceError> {
    let status = update.status;
    if status == JobStatus::Running && update.rest.is_some() {
        return Err(ServiceError::field("/rest", "comes with the end of an attempt alone"));
    }
    if matches!(status, JobStatus::Running | JobStatus::Pending) && update.claim.is_some() {
        return Err(ServiceError::field("/claim", "comes with Completed and Failed alone"));
    }
    Ok(())
}

fn proof_of(update: &JobUpdate) -> Proof {
    let worker = update.assigned_worker.clone();
    let token = update.lease_token.clone().unwrap_or_else(|| LeaseToken::of_name(&worker));
    Proof { worker, token, attempt: update.attempt }
}

/// The outcome in the report, or one made from the exit code or the status alone.
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
