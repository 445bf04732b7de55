//! The transitions of the job's state machine. `job.rs` has the diagram.

use std::borrow::Cow;

use jiff::Timestamp;
use orchestra_contracts::{
    Blame, JobStatus, LeaseToken, Outcome, Span, Usage, WorkerName,
    worker::{LogEnd, LogHead},
};

use super::{
    Effects, Finish, Hold, Job, JobEvent, JobState, Lease, MissingArtifact, Proof, Refusal, Rules,
    Stop, Tail, Verdict,
};

/// Applies an event to a job: the only way in which a job changes.
pub fn apply(job: &Job, event: JobEvent, rules: &Rules) -> Verdict {
    match event {
        JobEvent::Claimed { worker, token, ttl } => claim(job, worker, token, ttl, rules.now),
        JobEvent::Started { proof, ran: _ } => start(job, &proof, rules.now),
        JobEvent::Ended { proof, outcome, usage, log, tail, results } => {
            let (began, missing) = (results.ran.is_some(), results.missing);
            let report = Report { began, outcome, usage, log, tail, missing };
            end(&begun_by(job, &report), &proof, report, rules)
        }
        JobEvent::LeaseExpired => expire(job, rules),
        JobEvent::CancelRequested => cancel(job, rules.now),
        JobEvent::DeleteRequested => delete(job),
        JobEvent::Freed { hold } => free(job, hold),
        JobEvent::Skipped { job: upstream, ended, needs } => {
            skip(job, Outcome::Skipped { job: upstream, ended, needs }, rules.now)
        }
        JobEvent::RetryRequested => retry(job),
    }
}

fn claim(job: &Job, worker: WorkerName, token: LeaseToken, ttl: Span, now: Timestamp) -> Verdict {
    match &job.state {
        JobState::Pending { not_before, .. } if not_before.is_some_and(|time| time > now) => {
            return illegal("waiting for its next try");
        }
        JobState::Pending { hold: Some(Hold::Jobs), .. } => {
            return illegal("waiting for other jobs");
        }
        JobState::Pending { hold: Some(Hold::Turn), .. } => {
            return illegal("waiting for others of its array");
        }
        JobState::Pending { .. } => {}
        _ => return illegal(already(job)),
    }
    let lease =
        Lease { worker, token, claimed_at: now, expires_at: later(now, ttl), stop: Stop::No };
    let next = Job {
        state: JobState::Assigned { lease },
        attempts: job.attempts + 1,
        log: LogHead::default(),
        ..job.clone()
    };
    moved(next, Effects { attempt_begins: true, ..Effects::default() })
}

fn start(job: &Job, proof: &Proof, now: Timestamp) -> Verdict {
    match (&job.state, proven_lease(job, proof)) {
        (JobState::Running { .. }, Some(_)) => Verdict::AlreadyTrue,
        (_, Some(lease)) => {
            let state = JobState::Running { lease: lease.clone(), started_at: now };
            moved(Job { state, ..job.clone() }, Effects::default())
        }
        (_, None) => Verdict::Refused(Refusal::LeaseLost),
    }
}

/// A worker's report of an attempt's end.
struct Report {
    /// Whether it also reports the attempt's start.
    began: bool,
    outcome: Outcome,
    usage: Option<Usage>,
    log: Option<LogEnd>,
    tail: Option<Tail>,
    missing: Option<MissingArtifact>,
}

/// The job, moved to Running if the report includes the start: a short attempt is reported only
/// once, at its end. The start time is the time of the claim plus the reported preparation time.
fn begun_by<'a>(job: &'a Job, report: &Report) -> Cow<'a, Job> {
    let JobState::Assigned { lease } = &job.state else { return Cow::Borrowed(job) };
    if !report.began {
        return Cow::Borrowed(job);
    }
    let usage = report.usage.unwrap_or_default();
    let prepared = usage.image_ms.unwrap_or_default() + usage.start_ms.unwrap_or_default();
    let started_at = later(lease.claimed_at, Span::from_millis(prepared));
    let state = JobState::Running { lease: lease.clone(), started_at };
    Cow::Owned(Job { state, ..job.clone() })
}

fn end(job: &Job, proof: &Proof, report: Report, rules: &Rules) -> Verdict {
    let Some(lease) = proven_lease(job, proof) else {
        return if was_reported(job, proof, &report.outcome) {
            Verdict::AlreadyTrue
        } else {
            Verdict::Refused(Refusal::LeaseLost)
        };
    };
    let stored = LogEnd { offset: job.log.offset, crc32: job.log.crc32 };
    if report.log.is_some_and(|log| log != stored) {
        return Verdict::Refused(Refusal::LogIncomplete(job.log));
    }
    if let Some(missing) = report.missing {
        return Verdict::Refused(Refusal::ArtifactIncomplete(missing));
    }
    // A curl worker may report the end without having reported the start.
    let started_at =
        job.started_at().or_else(|| has_run(&report.outcome).then_some(lease.claimed_at));
    let finish = Finish {
        worker: Some(lease.worker.clone()),
        outcome: report.outcome,
        usage: report.usage,
        started_at,
        finished_at: rules.now,
        tail: report.tail,
    };
    settle(job, lease.stop, finish, rules)
}

fn expire(job: &Job, rules: &Rules) -> Verdict {
    match job.lease() {
        Some(lease) if lease.expires_at <= rules.now => {
            let finish = Finish {
                worker: Some(lease.worker.clone()),
                outcome: Outcome::Lost,
                usage: None,
                started_at: job.started_at(),
                finished_at: rules.now,
                tail: None,
            };
            settle(job, lease.stop, finish, rules)
        }
        _ => Verdict::AlreadyTrue,
    }
}

/// Decides the job's next state, given how its newest attempt ended.
fn settle(job: &Job, stop: Stop, finish: Finish, rules: &Rules) -> Verdict {
    let mut next = job.clone();
    let mut effects = Effects { attempt_ended: Some(finish.clone()), ..Effects::default() };
    next.state = match stop {
        Stop::No => match next_try(&mut next, &finish.outcome, rules) {
            Try::Again { not_before } => {
                effects.claimable = true;
                JobState::Pending { not_before, hold: None, after: Some(finish) }
            }
            Try::NoMore => JobState::Finished { finish },
            Try::Poison => {
                let outcome = Outcome::Poison { lost: next.lost };
                JobState::Finished { finish: Finish { outcome, ..finish } }
            }
        },
        Stop::Cancel if was_cut_short(&finish.outcome) => {
            JobState::Finished { finish: Finish { outcome: Outcome::Cancelled, ..finish } }
        }
        // A command that ended by itself before the kill keeps its result.
        Stop::Cancel => JobState::Finished { finish },
        Stop::Delete => {
            effects.delete = true;
            JobState::Finished { finish }
        }
    };
    moved(next, effects)
}

enum Try {
    Again { not_before: Option<Timestamp> },
    NoMore,
    Poison,
}

/// Decides whether the job is tried again, and charges the retry to a budget.
fn next_try(job: &mut Job, outcome: &Outcome, rules: &Rules) -> Try {
    let broken = outcome.blame() == Blame::Infrastructure;
    if broken && !job.spec.retry.on_lost && may_have_begun(job, outcome) {
        return Try::NoMore;
    }
    if *outcome == Outcome::Lost {
        job.lost += 1;
        if job.lost >= rules.retry.poison_after {
            return Try::Poison;
        }
    }
    let (used, budget) = match outcome.blame() {
        // Nothing failed, so the retry is free and immediate. It is also unbounded: each hand-back
        // comes from a worker that shuts down in an orderly way.
        _ if *outcome == Outcome::HandedBack => return Try::Again { not_before: None },
        Blame::Nobody => return Try::NoMore,
        Blame::Command if !job.spec.retry.covers(outcome) => return Try::NoMore,
        Blame::Command => (&mut job.retries, job.spec.max_retries),
        Blame::Infrastructure => (&mut job.infra_retries, rules.retry.infra_budget),
    };
    if *used >= budget {
        return Try::NoMore;
    }
    let retry = rules.retry.beginning_with(job.spec.retry.backoff);
    let wait = retry.wait(*used, rules.jitter);
    *used += 1;
    Try::Again { not_before: Some(later(rules.now, wait)) }
}

/// Whether the command may have started. A lost worker may have started it without reporting it.
fn may_have_begun(job: &Job, outcome: &Outcome) -> bool {
    *outcome == Outcome::Lost || matches!(job.state, JobState::Running { .. })
}

fn cancel(job: &Job, now: Timestamp) -> Verdict {
    match (&job.state, job.lease()) {
        (_, Some(lease)) if lease.stop == Stop::No => stopping(job, lease, Stop::Cancel),
        (_, Some(_)) => Verdict::AlreadyTrue,
        (JobState::Pending { after, .. }, None) => {
            never_begun(job, after.as_ref(), Outcome::Cancelled, now)
        }
        _ if job.status() == JobStatus::Cancelled => Verdict::AlreadyTrue,
        _ => illegal(already(job)),
    }
}

/// Ends a Pending job. Keeps what is known of an earlier attempt.
fn never_begun(job: &Job, after: Option<&Finish>, outcome: Outcome, now: Timestamp) -> Verdict {
    let finish = Finish {
        worker: after.and_then(|finish| finish.worker.clone()),
        outcome,
        usage: after.and_then(|finish| finish.usage),
        started_at: after.and_then(|finish| finish.started_at),
        finished_at: now,
        tail: after.and_then(|finish| finish.tail.clone()),
    };
    moved(Job { state: JobState::Finished { finish }, ..job.clone() }, Effects::default())
}

fn free(job: &Job, next: Option<Hold>) -> Verdict {
    match &job.state {
        JobState::Pending { not_before, hold: Some(hold), after } if Some(*hold) != next => {
            let (not_before, after) = (*not_before, after.clone());
            let state = JobState::Pending { not_before, hold: next, after };
            let effects = Effects { claimable: next.is_none(), ..Effects::default() };
            moved(Job { state, ..job.clone() }, effects)
        }
        _ => Verdict::AlreadyTrue,
    }
}

/// Skips a job that still waits for others. A retry request lifts that wait, and then it applies no
/// longer.
fn skip(job: &Job, outcome: Outcome, now: Timestamp) -> Verdict {
    match &job.state {
        JobState::Pending { hold: Some(Hold::Jobs), after, .. } => {
            never_begun(job, after.as_ref(), outcome, now)
        }
        _ => Verdict::AlreadyTrue,
    }
}

fn delete(job: &Job) -> Verdict {
    match job.lease() {
        None => moved(job.clone(), Effects { delete: true, ..Effects::default() }),
        Some(lease) if lease.stop == Stop::Delete => Verdict::AlreadyTrue,
        Some(lease) => stopping(job, lease, Stop::Delete),
    }
}

fn retry(job: &Job) -> Verdict {
    let JobState::Finished { finish } = &job.state else {
        return illegal(match job.status() {
            JobStatus::Pending => "still pending",
            JobStatus::Assigned => "still assigned to a worker",
            _ => "still running",
        });
    };
    // A job that was cancelled before its first attempt has no attempt to keep.
    let after = (job.attempts > 0).then(|| finish.clone());
    let state = JobState::Pending { not_before: None, hold: None, after };
    let next = Job { state, retries: 0, infra_retries: 0, lost: 0, ..job.clone() };
    moved(next, Effects { claimable: true, ..Effects::default() })
}

fn stopping(job: &Job, lease: &Lease, stop: Stop) -> Verdict {
    let lease = Lease { stop, ..lease.clone() };
    let state = match &job.state {
        JobState::Running { started_at, .. } => {
            JobState::Running { lease, started_at: *started_at }
        }
        _ => JobState::Assigned { lease },
    };
    let effects = Effects { stop_worker: true, ..Effects::default() };
    moved(Job { state, ..job.clone() }, effects)
}

/// The job's lease, if the proof matches it.
fn proven_lease<'a>(job: &'a Job, proof: &Proof) -> Option<&'a Lease> {
    job.lease().filter(|lease| {
        lease.worker == proof.worker && lease.token == proof.token && names_newest(job, proof)
    })
}

/// Whether this end of the newest attempt was accepted before: the worker repeats its report when
/// our answer was lost.
fn was_reported(job: &Job, proof: &Proof, outcome: &Outcome) -> bool {
    names_newest(job, proof)
        && job.finish().is_some_and(|finish| {
            finish.worker.as_ref() == Some(&proof.worker)
                && (finish.outcome == *outcome
                    || (matches!(finish.outcome, Outcome::Poison { .. })
                        && *outcome == Outcome::Lost)
                    || (finish.outcome == Outcome::Cancelled && was_cut_short(outcome)))
        })
}

fn names_newest(job: &Job, proof: &Proof) -> bool {
    proof.attempt.is_none_or(|attempt| attempt.0 == job.attempts)
}

/// Whether the command ran to an end of its own.
fn has_run(outcome: &Outcome) -> bool {
    outcome.is_success() || outcome.blame() == Blame::Command
}

/// Whether the attempt was stopped, or never started, and so has no result of its own.
fn was_cut_short(outcome: &Outcome) -> bool {
    *outcome == Outcome::Cancelled || outcome.blame() == Blame::Infrastructure
}

fn already(job: &Job) -> &'static str {
    match job.status() {
        JobStatus::Pending => "already pending",
        JobStatus::Assigned => "already assigned to a worker",
        JobStatus::Running => "already running",
        JobStatus::Completed => "already completed",
        JobStatus::Failed => "already failed",
        JobStatus::Cancelled => "already cancelled",
    }
}

/// Rounded to milliseconds, the database's resolution; saturates at the largest timestamp.
fn later(now: Timestamp, span: Span) -> Timestamp {
    Timestamp::from_millisecond(now.as_millisecond().saturating_add(span.as_millis()))
        .unwrap_or(LAST)
}

/// The last whole millisecond that a timestamp can represent.
const LAST: Timestamp = Timestamp::constant(253_402_207_200, 999_000_000);

fn moved(job: Job, effects: Effects) -> Verdict {
    Verdict::Moved(Box::new(job), effects)
}

fn illegal(reason: &'static str) -> Verdict {
    Verdict::Refused(Refusal::IllegalStep(reason))
}
