//! Every state against every event.

use orchestra_contracts::Outcome;

use super::{at, claimed, ended, moved, new_job, started};
use crate::domain::{Job, JobEvent, Refusal, Rules, Verdict, apply};

/// The expected result: the job's new status, with `+` if its worker is to stop it; `gone` if it is
/// to be deleted; `=` if the event had already been applied; `lost` if the caller does not hold the
/// lease; `no` if the transition is illegal.
const TABLE: &str = "
    state            claim    start   exit0     exit1     signal    refused given-back cancelled lost    expiry  cancel    delete   retry
    fresh            Assigned lost    lost      lost      lost      lost    lost      lost      lost     =       Cancelled gone     no
    waiting          no       lost    lost      =         lost      lost    lost      lost      lost     =       Cancelled gone     no
    due              Assigned lost    lost      =         lost      lost    lost      lost      lost     =       Cancelled gone     no
    given-back       Assigned lost    lost      lost      lost      lost    =         lost      lost     =       Cancelled gone     no
    assigned         no       Running Completed Pending   Pending   Failed  Pending   Cancelled Pending  Pending Assigned+ Assigned+ no
    running          no       =       Completed Pending   Pending   Failed  Pending   Cancelled Pending  Pending Running+  Running+ no
    exhausted        no       =       Completed Failed    Failed    Failed  Pending   Cancelled Failed   Failed  Running+  Running+ no
    lost-once        no       =       Completed Pending   Pending   Failed  Pending   Cancelled Failed   Failed  Running+  Running+ no
    at-most-once     no       =       Completed Pending   Pending   Failed  Failed    Cancelled Failed   Failed  Running+  Running+ no
    not-yet-begun    no       Running Completed Pending   Pending   Failed  Pending   Cancelled Failed   Failed  Assigned+ Assigned+ no
    renewed          no       =       Completed Pending   Pending   Failed  Pending   Cancelled Pending  =       Running+  Running+ no
    stopping         no       =       Completed Failed    Failed    Failed  Cancelled Cancelled Cancelled Cancelled =      Running+ no
    stopping-early   no       Running Completed Failed    Failed    Failed  Cancelled Cancelled Cancelled Cancelled =      Assigned+ no
    deleting         no       =       gone      gone      gone      gone    gone      gone      gone     gone    =         =        no
    completed        no       lost    =         lost      lost      lost    lost      lost      lost     =       no        gone     Pending
    failed           no       lost    lost      =         lost      lost    lost      lost      lost     =       no        gone     Pending
    poisoned         no       lost    lost      lost      lost      lost    lost      lost      =        =       no        gone     Pending
    cancelled        no       lost    lost      lost      lost      lost    lost      lost      lost     =       =         gone     Pending
    cancelled-held   no       lost    lost      lost      lost      lost    =         =         =        =       =         gone     Pending
";

/// The table's events occur at this second: every lease but the renewed one has expired.
const LATE: i64 = 100;

fn state(name: &str) -> Job {
    let exit = |code| ended(1, Outcome::Exited { code });
    let fresh = || new_job(1);
    let assigned = || moved(&fresh(), claimed(1), &at(1));
    let running = || moved(&assigned(), started(1), &at(2));
    let stopping = |event| moved(&running(), event, &at(3));
    let once = Job { spec: new_job(0).spec, ..running() };
    match name {
        "fresh" => fresh(),
        "waiting" => moved(&running(), exit(1), &at(LATE)),
        "due" => moved(&running(), exit(1), &at(3)),
        "given-back" => moved(&running(), ended(1, Outcome::HandedBack), &at(3)),
        "assigned" => assigned(),
        "running" => running(),
        "exhausted" => Job { retries: 1, infra_retries: super::INFRA_BUDGET, ..running() },
        "lost-once" => Job { lost: super::POISON_AFTER - 1, ..running() },
        "at-most-once" => once_at_most(running()),
        "not-yet-begun" => once_at_most(assigned()),
        "poisoned" => {
            let job = Job { lost: super::POISON_AFTER - 1, ..running() };
            moved(&job, JobEvent::LeaseExpired, &at(LATE))
        }
        "renewed" => moved(&moved(&fresh(), claimed(1), &at(LATE)), started(1), &at(LATE)),
        "stopping" => stopping(JobEvent::CancelRequested),
        "stopping-early" => moved(&assigned(), JobEvent::CancelRequested, &at(3)),
        "deleting" => stopping(JobEvent::DeleteRequested),
        "completed" => moved(&running(), exit(0), &at(3)),
        "failed" => moved(&once, exit(1), &at(3)),
        "cancelled" => moved(&fresh(), JobEvent::CancelRequested, &at(3)),
        "cancelled-held" => {
            moved(&stopping(JobEvent::CancelRequested), ended(1, Outcome::Cancelled), &at(4))
        }
        other => panic!("no state {other}"),
    }
}

fn once_at_most(mut job: Job) -> Job {
    job.spec.retry.on_lost = false;
    job
}

fn event(name: &str) -> JobEvent {
    match name {
        "claim" => claimed(2),
        "start" => started(1),
        "exit0" => ended(1, Outcome::Exited { code: 0 }),
        "exit1" => ended(1, Outcome::Exited { code: 1 }),
        "signal" => ended(1, Outcome::Signalled { signal: 9 }),
        "refused" => ended(1, Outcome::Refused { reason: "no".into() }),
        "given-back" => ended(1, Outcome::HandedBack),
        "cancelled" => ended(1, Outcome::Cancelled),
        "lost" => ended(1, Outcome::Lost),
        "expiry" => JobEvent::LeaseExpired,
        "cancel" => JobEvent::CancelRequested,
        "delete" => JobEvent::DeleteRequested,
        "retry" => JobEvent::RetryRequested,
        other => panic!("no event {other}"),
    }
}

fn verdict(job: &Job, event: JobEvent, rules: &Rules) -> String {
    match apply(job, event, rules) {
        Verdict::Moved(_, effects) if effects.delete => "gone".into(),
        Verdict::Moved(next, effects) => {
            format!("{}{}", next.status(), if effects.stop_worker { "+" } else { "" })
        }
        Verdict::AlreadyTrue => "=".into(),
        Verdict::Refused(Refusal::LeaseLost) => "lost".into(),
        Verdict::Refused(Refusal::IllegalStep(_)) => "no".into(),
        Verdict::Refused(Refusal::LogIncomplete(_)) => "log".into(),
        Verdict::Refused(Refusal::ArtifactIncomplete(_)) => "file".into(),
    }
}

#[test]
fn every_event_in_every_state() {
    let mut lines = TABLE.lines().map(str::split_whitespace).filter_map(|mut words| {
        let name = words.next()?;
        Some((name, words.collect::<Vec<_>>()))
    });
    let (_, events) = lines.next().unwrap();
    let mut checked = 0;
    for (name, expected) in lines {
        assert_eq!(expected.len(), events.len(), "the row of {name}");
        for (event_name, expected) in events.iter().zip(expected) {
            let found = verdict(&state(name), event(event_name), &at(LATE));
            assert_eq!(found, expected, "{event_name} when {name}");
            checked += 1;
        }
    }
    assert_eq!(checked, 19 * 13);
}

/// The effects follow from the transition.
#[test]
fn effects_say_what_to_do() {
    let effects = |state_name: &str, event_name: &str| match apply(
        &state(state_name),
        event(event_name),
        &at(LATE),
    ) {
        Verdict::Moved(_, effects) => effects,
        other => panic!("{event_name} when {state_name}: {other:?}"),
    };
    assert!(effects("fresh", "claim").attempt_begins);
    assert!(!effects("assigned", "start").attempt_begins);
    for event in ["exit1", "given-back", "expiry"] {
        let effects = effects("running", event);
        assert!(effects.claimable && effects.attempt_ended.is_some(), "{event}");
    }
    assert!(!effects("running", "exit0").claimable);
    assert!(effects("failed", "retry").claimable);
    let end = effects("stopping", "expiry").attempt_ended.unwrap();
    assert_eq!(end.outcome, Outcome::Lost, "the attempt keeps its own outcome");
}
