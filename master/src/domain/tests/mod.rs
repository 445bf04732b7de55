//! Tests of the state machine: a table of every transition, and a small model.

mod model;
mod steps;
mod table;

use jiff::Timestamp;
use orchestra_contracts::{AttemptNo, JobId, JobSpec, LeaseToken, Outcome, Span};

use super::{AttemptResults, Job, JobEvent, Proof, RetryPolicy, Rules, Verdict, apply};

const INFRA_BUDGET: u32 = 3;
const POISON_AFTER: u32 = 2;
const TTL: Span = Span::from_secs(60);

fn at(seconds: i64) -> Rules {
    Rules {
        now: Timestamp::from_second(seconds).unwrap(),
        retry: RetryPolicy {
            infra_budget: INFRA_BUDGET,
            poison_after: POISON_AFTER,
            ..RetryPolicy::default()
        },
        jitter: 1.0,
    }
}

fn new_job(max_retries: u32) -> Job {
    let spec = JobSpec { max_retries, ..JobSpec::new("true") };
    Job::new(JobId(1), spec, Timestamp::UNIX_EPOCH)
}

/// The lease token of an attempt, made from its number.
fn token(attempt: u32) -> LeaseToken {
    LeaseToken::new(format!("token {attempt}"))
}

fn proof(attempt: u32) -> Proof {
    Proof {
        worker: "worker".parse().unwrap(),
        token: token(attempt),
        attempt: Some(AttemptNo(attempt)),
    }
}

fn claimed(attempt: u32) -> JobEvent {
    JobEvent::Claimed { worker: "worker".parse().unwrap(), token: token(attempt), ttl: TTL }
}

fn started(attempt: u32) -> JobEvent {
    JobEvent::Started { proof: proof(attempt), ran: None }
}

fn ended(attempt: u32, outcome: Outcome) -> JobEvent {
    JobEvent::Ended {
        proof: proof(attempt),
        outcome,
        usage: None,
        log: None,
        tail: None,
        results: AttemptResults::default(),
    }
}

/// The job after an event that must be accepted.
fn moved(job: &Job, event: JobEvent, rules: &Rules) -> Job {
    match apply(job, event, rules) {
        Verdict::Moved(job, _) => *job,
        other => panic!("expected a move, got {other:?}"),
    }
}
