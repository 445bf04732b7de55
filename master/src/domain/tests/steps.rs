//! Transitions that the table has no room for.

use orchestra_contracts::{
    Condition, JobStatus, Ran, RetryOn, Usage,
    worker::{ArtifactHead, LogEnd, LogHead},
};

use super::*;
use crate::domain::{AttemptResults, Hold, JobState, LeasePolicy, MissingArtifact, Refusal, Tail};

#[test]
fn a_finish_holds_what_the_worker_said() {
    let job = moved(&new_job(0), claimed(1), &at(1));
    let job = moved(&job, started(1), &at(2));
    let usage = Some(Usage { cpu_ms: 5, peak_memory: 6, wall_ms: 7, ..Usage::default() });
    let tail = Some(Tail { output: "out".into(), error: "err".into(), truncated: true });
    let event = JobEvent::Ended {
        proof: proof(1),
        outcome: Outcome::Exited { code: 3 },
        usage,
        log: None,
        tail: tail.clone(),
        results: AttemptResults::default(),
    };
    let job = moved(&job, event, &at(4));
    let finish = job.finish().unwrap();
    assert_eq!(finish.worker, Some("worker".parse().unwrap()));
    assert_eq!(finish.outcome, Outcome::Exited { code: 3 });
    assert_eq!((finish.usage, &finish.tail), (usage, &tail));
    assert_eq!((finish.started_at, finish.finished_at), (Some(at(2).now), at(4).now));
}

/// The start is set to when the preparation ended, and the command counts as started: it is retried
/// only if the job allows that.
#[test]
fn an_attempt_whose_start_is_told_with_its_end_has_run() {
    let mut spec = JobSpec::new("true");
    spec.retry.on_lost = false;
    let job = moved(&Job::new(JobId(1), spec, at(0).now), claimed(1), &at(1));
    let ran: Ran = serde_json::from_str(
        r#"{"image": "a", "imageId": "b", "user": "1:1", "cpus": 1, "memory": "1M", "pids": 1,
            "tmp": "1M", "fileSize": "1M"}"#,
    )
    .unwrap();
    let usage = Usage { image_ms: Some(300), start_ms: Some(200), ..Usage::default() };
    let end = |outcome, ran: Option<&Ran>| JobEvent::Ended {
        proof: proof(1),
        outcome,
        usage: Some(usage),
        log: None,
        tail: None,
        results: AttemptResults { ran: ran.cloned().map(Box::new), ..AttemptResults::default() },
    };
    let done = moved(&job, end(Outcome::Exited { code: 0 }, Some(&ran)), &at(4));
    let began = at(1).now + std::time::Duration::from_millis(500);
    assert_eq!(done.finish().unwrap().started_at, Some(began));

    let broken = || Outcome::CouldNotStart { reason: "its stream broke".into() };
    let once = moved(&job, end(broken(), Some(&ran)), &at(4));
    assert_eq!((once.status(), once.attempts), (JobStatus::Failed, 1));
    let again = moved(&job, end(broken(), None), &at(4));
    assert_eq!(again.status(), JobStatus::Pending);
}

#[test]
fn an_attempt_ends_only_with_its_whole_log() {
    let mut job = moved(&new_job(0), claimed(1), &at(1));
    job.log = LogHead { offset: 100, output: 50, gap: 0, crc32: 7 };
    let end = |offset, crc32| JobEvent::Ended {
        proof: proof(1),
        outcome: Outcome::Exited { code: 0 },
        usage: None,
        log: Some(LogEnd { offset, crc32 }),
        tail: None,
        results: AttemptResults::default(),
    };
    for (offset, crc32) in [(99, 7), (101, 7), (100, 8)] {
        let refused = Verdict::Refused(Refusal::LogIncomplete(job.log));
        assert_eq!(apply(&job, end(offset, crc32), &at(2)), refused);
    }
    assert_eq!(moved(&job, end(100, 7), &at(2)).status(), JobStatus::Completed);
}

#[test]
fn an_attempt_ends_only_with_the_files_that_it_is_said_to_leave() {
    let job = moved(&new_job(0), claimed(1), &at(1));
    let missing = MissingArtifact { path: "a".into(), said: 3, head: ArtifactHead { offset: 2 } };
    let end = |number, missing| JobEvent::Ended {
        proof: proof(number),
        outcome: Outcome::Exited { code: 0 },
        usage: None,
        log: None,
        tail: None,
        results: AttemptResults { missing, ..AttemptResults::default() },
    };
    let refused = |refusal| Verdict::Refused(refusal);
    let incomplete = refused(Refusal::ArtifactIncomplete(missing.clone()));
    assert_eq!(apply(&job, end(1, Some(missing.clone())), &at(2)), incomplete);
    let lost = refused(Refusal::LeaseLost);
    assert_eq!(apply(&job, end(2, Some(missing.clone())), &at(2)), lost, "who asks comes first");
    let job = moved(&job, end(1, None), &at(2));
    assert_eq!(job.status(), JobStatus::Completed);
    assert_eq!(apply(&job, end(1, Some(missing)), &at(3)), Verdict::AlreadyTrue);
}

#[test]
fn a_claim_begins_a_log_of_its_own() {
    let mut job = moved(&new_job(1), claimed(1), &at(1));
    job.log.offset = 100;
    let job = moved(&job, ended(1, Outcome::HandedBack), &at(2));
    assert_eq!(job.log.offset, 100);
    assert_eq!(moved(&job, claimed(2), &at(2)).log, LogHead::default());
}

#[test]
fn a_worker_without_attempt_numbers_means_the_newest() {
    let job = moved(&new_job(0), claimed(1), &at(1));
    let nameless = Proof { attempt: None, ..proof(1) };
    let end = JobEvent::Ended {
        proof: nameless.clone(),
        outcome: Outcome::Exited { code: 0 },
        usage: None,
        log: None,
        tail: None,
        results: AttemptResults::default(),
    };
    let job = moved(&job, JobEvent::Started { proof: nameless, ran: None }, &at(2));
    let job = moved(&job, end.clone(), &at(3));
    assert_eq!(apply(&job, end, &at(4)), Verdict::AlreadyTrue);
}

#[test]
fn every_part_of_a_proof_must_fit() {
    let job = moved(&new_job(0), claimed(1), &at(1));
    let right = proof(1);
    for proof in [
        Proof { worker: "other".parse().unwrap(), ..right.clone() },
        Proof { token: token(2), ..right.clone() },
        Proof { attempt: Some(AttemptNo(2)), ..right.clone() },
        Proof { attempt: Some(AttemptNo(0)), ..right },
    ] {
        let refused = Verdict::Refused(Refusal::LeaseLost);
        assert_eq!(apply(&job, JobEvent::Started { proof, ran: None }, &at(2)), refused);
    }
}

#[test]
fn only_a_command_that_ran_has_a_start() {
    let job = moved(&new_job(0), claimed(1), &at(1));
    let start = |outcome| moved(&job, ended(1, outcome), &at(2)).started_at();
    assert_eq!(start(Outcome::Exited { code: 0 }), Some(at(1).now));
    assert_eq!(start(Outcome::CouldNotStart { reason: "x".into() }), None);
    assert_eq!(start(Outcome::HandedBack), None);
}

#[test]
fn a_cancelled_retry_remembers_its_last_attempt() {
    let job = moved(&new_job(1), claimed(1), &at(1));
    let job = moved(&job, ended(1, Outcome::Exited { code: 1 }), &at(2));
    let job = moved(&job, JobEvent::CancelRequested, &at(3));
    let finish = job.finish().unwrap();
    assert_eq!(finish.outcome, Outcome::Cancelled);
    assert_eq!((finish.started_at, finish.finished_at), (Some(at(1).now), at(3).now));
    assert_eq!(finish.worker, Some("worker".parse().unwrap()));
}

#[test]
fn a_retry_waits_and_a_job_given_back_does_not() {
    let job = moved(&new_job(9), claimed(1), &at(1));
    let not_before = |outcome| match moved(&job, ended(1, outcome), &at(2)).state {
        JobState::Pending { not_before, .. } => not_before,
        other => panic!("{other:?}"),
    };
    assert_eq!(not_before(Outcome::TimedOut), Some(at(3).now));
    assert_eq!(not_before(Outcome::HandedBack), None);
}

#[test]
fn a_job_that_loses_its_workers_ends_as_poison_and_its_attempts_as_lost() {
    let mut job = new_job(9);
    for lost in 1..=POISON_AFTER {
        let attempt = job.attempts + 1;
        job = moved(&job, claimed(attempt), &at(1000 * i64::from(attempt)));
        let late = at(1000 * i64::from(attempt) + 60);
        let Verdict::Moved(next, effects) = apply(&job, JobEvent::LeaseExpired, &late) else {
            panic!("the lease is over")
        };
        assert_eq!(effects.attempt_ended.unwrap().outcome, Outcome::Lost);
        assert_eq!(next.lost, lost);
        job = *next;
    }
    let lost = POISON_AFTER;
    assert_eq!(job.finish().unwrap().outcome, Outcome::Poison { lost });
    assert_eq!((job.status(), job.retries), (JobStatus::Failed, 0));
    let again = moved(&job, JobEvent::RetryRequested, &at(9000));
    assert_eq!((again.lost, again.infra_retries), (0, 0), "whoever mends it begins anew");
}

#[test]
fn a_job_may_have_a_backoff_of_its_own() {
    let mut job = moved(&new_job(9), claimed(1), &at(1));
    job.spec.retry.backoff = Some(Span::from_secs(20));
    let not_before = |job: &Job| match moved(job, ended(1, Outcome::TimedOut), &at(2)).state {
        JobState::Pending { not_before, .. } => not_before.unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(not_before(&job), at(22).now);
    job.retries = 1;
    assert_eq!(not_before(&job), at(42).now);
    job.retries = 2;
    assert_eq!(not_before(&job), at(62).now, "the operator's longest wait holds");
}

#[test]
fn a_lease_is_as_long_as_asked_within_the_bounds() {
    let policy = LeasePolicy { base: Span::from_secs(60), max: Span::from_secs(600) };
    let seconds = |asked: Option<u64>| policy.of(asked.map(Span::from_secs)).0.as_secs();
    assert_eq!([None, Some(1), Some(90), Some(601)].map(seconds), [60, 60, 90, 600]);
}

#[test]
fn waits_double_up_to_their_bound() {
    let policy = RetryPolicy::default();
    let waits = |jitter| [0, 1, 5, 6, 31, 32, u32::MAX].map(|used| policy.wait(used, jitter));
    let seconds = |all: [u64; 7]| all.map(Span::from_secs);
    assert_eq!(waits(1.0), seconds([1, 2, 32, 60, 60, 60, 60]));
    assert_eq!(policy.wait(0, 0.5), Span::from_millis(500));
    assert_eq!(policy.wait(40, 0.5), Span::from_secs(30));
    assert_eq!(waits(0.0), seconds([0; 7]));
    let endless = RetryPolicy { base: Span(std::time::Duration::MAX), ..policy };
    let endless = RetryPolicy { max: endless.base, ..endless };
    assert_eq!(endless.wait(9, 1.0), endless.max);
}

#[test]
fn a_lease_may_be_endless() {
    let event = JobEvent::Claimed {
        worker: "worker".parse().unwrap(),
        token: token(1),
        ttl: Span(std::time::Duration::MAX),
    };
    let job = moved(&new_job(0), event, &at(1));
    let expires_at = job.lease().unwrap().expires_at;
    assert_eq!(expires_at.as_millisecond(), Timestamp::MAX.as_millisecond());
    assert_eq!(expires_at.subsec_nanosecond() % 1_000_000, 0);
}

#[test]
fn only_failures_that_were_named_are_tried_again() {
    let mut job = moved(&new_job(9), claimed(1), &at(1));
    job.spec.retry.on = Some(vec![RetryOn::TimedOut, RetryOn::Signalled]);
    let status = |outcome| moved(&job, ended(1, outcome), &at(2)).status();
    assert_eq!(status(Outcome::TimedOut), JobStatus::Pending);
    assert_eq!(status(Outcome::Signalled { signal: 9 }), JobStatus::Pending);
    assert_eq!(status(Outcome::Exited { code: 1 }), JobStatus::Failed);
    assert_eq!(status(Outcome::OutOfMemory), JobStatus::Failed);
    assert_eq!(status(Outcome::Lost), JobStatus::Pending, "what we broke is ours to repeat");
}

#[test]
fn what_is_kept_back_is_not_claimed_until_it_is_freed() {
    let mut job = new_job(0);
    job.state = JobState::Pending { not_before: None, hold: Some(Hold::Jobs), after: None };
    let refused = |job: &Job| matches!(apply(job, claimed(1), &at(1)), Verdict::Refused(_));
    assert!(refused(&job));
    let next = moved(&job, JobEvent::Freed { hold: Some(Hold::Turn) }, &at(1));
    assert!(refused(&next));
    let free = moved(&next, JobEvent::Freed { hold: None }, &at(2));
    assert_eq!(moved(&free, claimed(1), &at(3)).status(), JobStatus::Assigned);
    let again = apply(&free, JobEvent::Freed { hold: Some(Hold::Turn) }, &at(3));
    assert_eq!(again, Verdict::AlreadyTrue, "nothing takes back what is free");
}

#[test]
fn only_who_waits_for_jobs_is_skipped() {
    let (upstream, needs) = (JobId(7), Condition::AfterOk);
    let skip = || JobEvent::Skipped { job: upstream, ended: JobStatus::Failed, needs };
    let mut job = new_job(0);
    assert_eq!(apply(&job, skip(), &at(1)), Verdict::AlreadyTrue);
    job.state = JobState::Pending { not_before: None, hold: Some(Hold::Jobs), after: None };
    let skipped = moved(&job, skip(), &at(1));
    assert_eq!(skipped.status(), JobStatus::Cancelled);
    let outcome = Outcome::Skipped { job: upstream, ended: JobStatus::Failed, needs };
    assert_eq!(skipped.finish().unwrap().outcome, outcome);
    let again = moved(&skipped, JobEvent::RetryRequested, &at(2));
    assert_eq!(moved(&again, claimed(1), &at(3)).status(), JobStatus::Assigned);
}
