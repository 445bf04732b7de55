//! Compares the machine with a much smaller model of the same rules, under random events.

use orchestra_contracts::{Blame, JobStatus, Outcome};
use proptest::{collection::vec, prelude::*};

use super::{INFRA_BUDGET, POISON_AFTER, at, claimed, ended, new_job, started};
use crate::domain::{Job, JobEvent, JobState, Verdict, apply};

#[derive(Clone, Debug)]
enum Step {
    Claim,
    /// From the newest attempt, or, if `stale`, from the one before it.
    Start {
        stale: bool,
    },
    End {
        stale: bool,
        outcome: Outcome,
    },
    Expire,
    Cancel,
    Delete,
    Retry,
    /// This many seconds pass.
    Wait(i64),
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Exited { code: 0 }),
        Just(Outcome::Exited { code: 1 }),
        Just(Outcome::TimedOut),
        Just(Outcome::OutOfMemory),
        Just(Outcome::Cancelled),
        Just(Outcome::HandedBack),
        Just(Outcome::Lost),
        Just(Outcome::CouldNotStart { reason: "engine".into() }),
        Just(Outcome::Refused { reason: "not allowed".into() }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let stale = || prop::bool::weighted(0.2);
    prop_oneof![
        6 => Just(Step::Claim),
        4 => stale().prop_map(|stale| Step::Start { stale }),
        6 => (stale(), outcome()).prop_map(|(stale, outcome)| Step::End { stale, outcome }),
        2 => Just(Step::Expire),
        1 => Just(Step::Cancel),
        1 => Just(Step::Delete),
        1 => Just(Step::Retry),
        6 => (1..90_i64).prop_map(Step::Wait),
    ]
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Phase {
    #[default]
    Open,
    /// `until` is a second.
    Held {
        until: i64,
        stopping: bool,
        deleting: bool,
    },
    Done(Done),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Done {
    Completed,
    Failed,
    Poisoned,
    Cancelled,
    Deleted,
}

/// The expected state, kept as counts.
#[derive(Debug, Default)]
struct Model {
    phase: Phase,
    attempts: u32,
    retries: u32,
    infra: u32,
    lost: u32,
    max_retries: u32,
}

impl Model {
    fn step(&mut self, step: &Step, now: i64, due: bool) {
        match (step, self.phase) {
            (Step::Claim, Phase::Open) if due => {
                self.attempts += 1;
                self.phase = Phase::Held { until: now + 60, stopping: false, deleting: false };
            }
            (Step::End { stale: false, outcome }, Phase::Held { .. }) => self.end(outcome),
            (Step::Expire, Phase::Held { until, .. }) if until <= now => self.end(&Outcome::Lost),
            (Step::Cancel, Phase::Open) => self.phase = Phase::Done(Done::Cancelled),
            (Step::Cancel, Phase::Held { until, deleting, .. }) => {
                self.phase = Phase::Held { until, stopping: true, deleting };
            }
            (Step::Delete, Phase::Held { until, .. }) => {
                self.phase = Phase::Held { until, stopping: true, deleting: true };
            }
            (Step::Delete, _) => self.phase = Phase::Done(Done::Deleted),
            (Step::Retry, Phase::Done(_)) => {
                self.phase = Phase::Open;
                (self.retries, self.infra, self.lost) = (0, 0, 0);
            }
            _ => {}
        }
    }

    fn end(&mut self, outcome: &Outcome) {
        let Phase::Held { stopping, deleting, .. } = self.phase else { unreachable!() };
        let blame = outcome.blame();
        self.lost += u32::from(*outcome == Outcome::Lost && !stopping);
        self.phase = match outcome {
            _ if deleting => Phase::Done(Done::Deleted),
            Outcome::Cancelled => Phase::Done(Done::Cancelled),
            _ if stopping && blame == Blame::Infrastructure => Phase::Done(Done::Cancelled),
            Outcome::Exited { code: 0 } => Phase::Done(Done::Completed),
            _ if stopping => Phase::Done(Done::Failed),
            Outcome::HandedBack => Phase::Open,
            Outcome::Lost if self.lost >= POISON_AFTER => Phase::Done(Done::Poisoned),
            _ if blame == Blame::Command && self.retries < self.max_retries => {
                self.retries += 1;
                Phase::Open
            }
            _ if blame == Blame::Infrastructure && self.infra < INFRA_BUDGET => {
                self.infra += 1;
                Phase::Open
            }
            _ => Phase::Done(Done::Failed),
        };
    }

    fn agrees_with(&self, job: &Job) -> bool {
        let phase = match (job.status(), self.phase) {
            (JobStatus::Pending, phase) => phase == Phase::Open,
            (JobStatus::Assigned | JobStatus::Running, phase) => {
                matches!(phase, Phase::Held { .. })
            }
            (JobStatus::Completed, phase) => phase == Phase::Done(Done::Completed),
            (JobStatus::Failed, phase) => {
                let poison = matches!(
                    job.finish().map(|finish| &finish.outcome),
                    Some(Outcome::Poison { .. })
                );
                phase == Phase::Done(if poison { Done::Poisoned } else { Done::Failed })
            }
            (JobStatus::Cancelled, phase) => phase == Phase::Done(Done::Cancelled),
        };
        phase
            && (self.attempts, self.retries, self.infra, self.lost)
                == (job.attempts, job.retries, job.infra_retries, job.lost)
    }
}

fn event(step: &Step, job: &Job) -> Option<JobEvent> {
    let attempt = |stale: bool| job.attempts.saturating_sub(u32::from(stale));
    Some(match step {
        Step::Claim => claimed(job.attempts + 1),
        Step::Start { stale } => started(attempt(*stale)),
        Step::End { stale, outcome } => ended(attempt(*stale), outcome.clone()),
        Step::Expire => JobEvent::LeaseExpired,
        Step::Cancel => JobEvent::CancelRequested,
        Step::Delete => JobEvent::DeleteRequested,
        Step::Retry => JobEvent::RetryRequested,
        Step::Wait(_) => return None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_machine_does_what_the_model_says(max_retries in 0..4_u32, steps in vec(step(), 1..60)) {
        let mut job = new_job(max_retries);
        let mut model = Model { max_retries, ..Model::default() };
        let mut now = 0;
        let mut live = 0;
        // Counted since the submission or the last retry request.
        let (mut begun, mut given_back) = (0, 0);
        for step in steps {
            if let Step::Wait(seconds) = step {
                now += seconds;
            }
            let Some(event) = event(&step, &job) else { continue };
            let rules = at(now);
            let due = !matches!(&job.state, JobState::Pending { not_before: Some(time), .. } if *time > rules.now);
            let was_final = job.status().is_final();
            model.step(&step, now, due);
            if let Verdict::Moved(next, effects) = apply(&job, event, &rules) {
                live += i32::from(effects.attempt_begins);
                begun += u32::from(effects.attempt_begins);
                if let Some(finish) = &effects.attempt_ended {
                    live -= 1;
                    given_back += u32::from(finish.outcome == Outcome::HandedBack);
                }
                if effects.delete {
                    prop_assert_eq!(model.phase, Phase::Done(Done::Deleted));
                    return Ok(());
                }
                prop_assert!(!was_final || matches!(step, Step::Retry), "{:?} moved a finished job", step);
                if matches!(step, Step::Retry) {
                    (begun, given_back) = (0, 0);
                }
                prop_assert_eq!(next.attempts, job.attempts + u32::from(effects.attempt_begins));
                prop_assert_eq!(effects.claimable, next.status() == JobStatus::Pending);
                job = *next;
            }
            prop_assert!(model.agrees_with(&job), "after {:?}: {:?} is not {:?}", step, job, model);
            prop_assert_eq!(live, i32::from(job.lease().is_some()));
            prop_assert!(job.retries <= max_retries && job.infra_retries <= INFRA_BUDGET);
            prop_assert!(begun <= 1 + max_retries + INFRA_BUDGET + given_back);
        }
    }
}
