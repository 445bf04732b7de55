//! The reports of an attempt to the master: its start, its end, and the jobs that the answer
//! brings.

use std::time::Duration;

use orchestra_client::{Backoff, ClientError};
use orchestra_contracts::{
    JobStatus, Outcome, ProblemKind, Ran,
    worker::{Claimed, JobUpdate, LogRest},
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use super::{Attempt, Ended};
use crate::{
    control::Stop,
    master::is_lease_lost,
    outbox::{Closed, UploadError},
    trace::Trace,
};

/// An attempt that is over this soon after its start, its artifacts included, is reported once.
/// That halves requests and commits, and its end does not wait for the answer to its start.
const SHORT: Duration = Duration::from_millis(10);

/// The master's answer to a report.
enum ReportResult {
    /// It accepted the report, sent at this moment, and answered with these jobs.
    Accepted(Instant, Vec<Claimed>),
    Refused(ClientError),
    /// The lease was lost before an answer came. The report may have arrived.
    Unanswered,
}

/// The jobs that the report of an attempt's end brought for its slot.
#[derive(Debug)]
pub(crate) enum NextJobs {
    None,
    /// These, claimed at this moment.
    Jobs(Instant, Vec<Claimed>),
    /// Unknown: the master may have answered the claim of this request id.
    Unanswered(String),
}

impl Attempt {
    /// Reports the start, unless the attempt is `over` first: then returns what it ran in, for the
    /// report of the end.
    pub(super) async fn announce(&self, ran: Option<Box<Ran>>, over: &Notify) -> Option<Box<Ran>> {
        if ran.is_some() && timeout(SHORT, over.notified()).await.is_ok() {
            return ran;
        }
        self.send(&JobUpdate { ran, ..self.update(JobStatus::Running) }).await;
        None
    }

    pub(super) async fn conclude(&self, mut ended: Ended, mut trace: Trace) -> NextJobs {
        let (id, number) = (self.lease.job, self.lease.attempt);
        // Until the report is delivered, or nobody waits for it any more.
        let _kept = std::mem::take(&mut ended.end.kept);
        let Some((mut update, log)) = self.report(ended) else {
            tracing::warn!(job = %id, attempt = %number, "the lease is lost: ended without a report");
            trace.lost();
            return NextJobs::None;
        };
        let report = trace.part("report");
        let result = self.send_end(&mut update, log).await;
        if let Some(report) = report {
            report.end_ago(Duration::ZERO);
        }
        match (&update.outcome, &result) {
            (Some(outcome), ReportResult::Accepted(..)) => {
                trace.end(outcome);
                tracing::info!(job = %id, attempt = %number, "ended: {outcome}");
            }
            _ => trace.lost(),
        }
        match (result, update.claim.and_then(|claim| claim.request_id)) {
            (ReportResult::Accepted(sent, jobs), _) if !jobs.is_empty() => {
                NextJobs::Jobs(sent, jobs)
            }
            (ReportResult::Unanswered, Some(request)) => NextJobs::Unanswered(request),
            _ => NextJobs::None,
        }
    }

    /// Reports the end with the rest of the log. If the master does not accept the rest in a
    /// report, uploads it and reports again.
    async fn send_end(&self, update: &mut JobUpdate, log: Option<Closed>) -> ReportResult {
        let result = self.send(update).await;
        let is_short = |error: &ClientError| error.kind() == Some(ProblemKind::LogIncomplete);
        let (ReportResult::Refused(error), Some(mut log)) = (&result, log) else { return result };
        if update.rest.is_none() || !is_short(error) {
            return result;
        }
        self.link.note_no_rests();
        update.rest = None;
        let stored = tokio::select! {
            biased;
            stored = log.store_rest() => stored,
            () = self.control.stopped(Stop::Lost) => Err(UploadError::LeaseLost),
        };
        match stored {
            Ok(()) => self.send(update).await,
            Err(error) => {
                tracing::warn!(job = %self.lease.job, "the last of its log could not be stored: {error}");
                result
            }
        }
    }

    /// The report of the end, and the closed log; `None` if the lease is lost.
    fn report(
        &self,
        Ended { end, artifacts, unsaid, log }: Ended,
    ) -> Option<(JobUpdate, Option<Closed>)> {
        if self.control.stopping() == Some(Stop::Lost) || end.outcome == Outcome::Lost {
            return None;
        }
        let (outcome, log) = match log {
            Ok(log) => (end.outcome, Some(log)),
            Err(error) => {
                let reason = format!("its log could not be stored: {error}");
                (Outcome::CouldNotStart { reason }, None)
            }
        };
        let status = match &outcome {
            Outcome::HandedBack => JobStatus::Pending,
            outcome if outcome.is_success() => JobStatus::Completed,
            _ => JobStatus::Failed,
        };
        let rest = log.as_ref().map(|log| log.rest.clone()).filter(|rest| !rest.is_empty());
        let claim = if status == JobStatus::Pending { None } else { self.refill.claim() };
        let update = JobUpdate {
            exit_code: outcome.exit_code(),
            outcome: Some(outcome),
            usage: end.usage,
            ran: unsaid,
            log: log.as_ref().map(|log| log.end),
            rest: rest.map(LogRest),
            artifacts,
            changes: end.changes,
            claim,
            ..self.update(status)
        };
        Some((update, log))
    }

    fn update(&self, status: JobStatus) -> JobUpdate {
        JobUpdate {
            id: self.lease.job,
            status,
            assigned_worker: self.worker.clone(),
            attempt: Some(self.lease.attempt),
            lease_token: Some(self.lease.token.clone()),
            exit_code: None,
            output: None,
            error: None,
            outcome: None,
            usage: None,
            ran: None,
            log: None,
            rest: None,
            artifacts: Vec::new(),
            changes: None,
            claim: None,
        }
    }

    /// Sends a report until the master answers, or the lease is lost.
    async fn send(&self, update: &JobUpdate) -> ReportResult {
        let mut backoff = Backoff::default();
        let sending = async {
            loop {
                let sent = Instant::now();
                let answer = self.master.update(update).await;
                self.link.note(&answer);
                match answer {
                    Ok(jobs) => return ReportResult::Accepted(sent, jobs),
                    Err(error) if error.is_temporary() => sleep(backoff.next()).await,
                    Err(error) => {
                        if is_lease_lost(&error) {
                            self.control.stop(Stop::Lost);
                        }
                        tracing::warn!(job = %self.lease.job, status = %update.status, "the master refuses a report: {error}");
                        return ReportResult::Refused(error);
                    }
                }
            }
        };
        tokio::select! {
            biased;
            result = sending => result,
            () = self.control.stopped(Stop::Lost) => ReportResult::Unanswered,
        }
    }
}
