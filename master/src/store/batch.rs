//! Calls that the store carries out together: a worker's report with the rest of its log, and
//! everything that the dispatcher has collected.

use futures::future::join_all;
use orchestra_contracts::JobId;

use super::{Applied, Claim, LogAppend, Store, StoreError, Submission, Submitted};
use crate::domain::{Job, JobEvent, Refusal, Rules};

/// A worker's report of an attempt.
#[derive(Clone, Debug)]
pub struct Report {
    pub job: JobId,
    pub event: JobEvent,
    /// The rest of the attempt's log, with the same proof. It is stored before the event is
    /// applied. If it cannot be stored, the only error is the state machine's: that the log is not
    /// complete.
    pub rest: Option<LogAppend>,
}

/// Calls of one batch. Claims come last: they may get jobs of the same batch's submissions, and
/// jobs that its reports set free.
#[derive(Debug)]
pub struct BatchRequest {
    pub submissions: Vec<Submission>,
    pub reports: Vec<Report>,
    pub claims: Vec<Claim>,
    pub rules: Rules,
}

/// The results of a batch, in the order of its calls. A call may fail while others succeed.
#[derive(Debug)]
pub struct BatchReply {
    pub submitted: Vec<Result<Submitted, StoreError>>,
    /// `None` when there is no such job.
    pub reported: Vec<Result<Option<Applied>, StoreError>>,
    pub claimed: Result<Vec<Vec<Job>>, StoreError>,
}

/// Carries out a batch call by call, for a store without a transaction around all of them.
pub async fn call_by_call(store: &(impl Store + ?Sized), batch: BatchRequest) -> BatchReply {
    let BatchRequest { submissions, reports, claims, rules } = batch;
    let submitted = submissions.into_iter().map(|one| store.submit(one.jobs, one.once, one.now));
    let submitted = join_all(submitted).await;
    let reported = join_all(reports.into_iter().map(|one| store.report(one, rules))).await;
    BatchReply { submitted, reported, claimed: store.claim(claims, rules).await }
}

/// The result of a report. If the log is incomplete because its rest could not be stored, that
/// error is the result.
pub(super) fn answer<T>(
    appended: Result<T, StoreError>,
    applied: Result<Option<Applied>, StoreError>,
) -> Result<Option<Applied>, StoreError> {
    let is_incomplete = |it: &Applied| matches!(it.result, Err(Refusal::LogIncomplete(_)));
    match (appended, applied) {
        (Err(error), Ok(Some(applied))) if is_incomplete(&applied) => Err(error),
        (_, applied) => applied,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use orchestra_contracts::{JobSpec, worker::LogHead};

    use super::*;
    use crate::domain::Effects;

    fn applied(result: Result<Effects, Refusal>) -> Applied {
        Applied::new(Job::new(JobId(1), JobSpec::new("true"), Timestamp::UNIX_EPOCH), result)
    }

    fn full() -> Result<(), StoreError> {
        Err(StoreError::NoRoom { reason: "full".to_owned() })
    }

    /// Its worker is to ask again when there is room, and one whose report was taken before is not.
    #[test]
    fn a_disk_without_room_for_the_rest_is_the_answer_where_the_rest_is_missing() {
        let short = || Ok(Some(applied(Err(Refusal::LogIncomplete(LogHead::default())))));
        assert!(matches!(answer(full(), short()), Err(StoreError::NoRoom { .. })));
        assert!(answer(Ok(()), short()).is_ok());
        assert!(answer(full(), Ok(Some(applied(Ok(Effects::default()))))).is_ok());
        assert!(answer(full(), Ok(Some(applied(Err(Refusal::LeaseLost))))).is_ok());
        assert!(answer(full(), Ok(None)).is_ok());
    }
}
