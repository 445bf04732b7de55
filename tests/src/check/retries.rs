//! I11: two retry budgets. Each pays only for its own failures, and never more than it holds.

use std::time::Duration;

use orchestra_contracts::{Blame, JobStatus, Outcome};

use super::{End, Index, Invariant, JobEnd, Judgement, Limits, Wish};

pub(super) fn check(history: &Index<'_>, end: &End, limits: &Limits, found: &mut Judgement) {
    for end in &end.jobs {
        // A retry requested by a person resets the budgets, so the counts no longer add up.
        if history.was_asked(end.job.id, Wish::Retry, Duration::MAX) {
            continue;
        }
        found.looked(Invariant::I11, 1);
        let stopped = [Wish::Cancel, Wish::Delete]
            .into_iter()
            .any(|wish| history.was_asked(end.job.id, wish, Duration::MAX));
        for sentence in budgets(end, limits, stopped) {
            found.broken(Invariant::I11, end.job.id, sentence);
        }
    }
}

fn budgets(end: &JobEnd, limits: &Limits, stopped: bool) -> Vec<String> {
    let job = &end.job;
    let is_final = job.status.is_final();
    // The final end costs nothing, since no further attempt follows.
    let unpaid = is_final && !end.attempts.is_empty() && !was_cancelled_before_its_retry(end);
    let tries = end.attempts.len() - usize::from(unpaid);
    let paid = |blame| {
        let ended = end.attempts[..tries].iter().filter_map(|attempt| attempt.outcome.as_ref());
        ended.filter(|outcome| budget(outcome) == Some(blame)).count() as u32
    };
    let (command, infra) = (paid(Blame::Command), paid(Blame::Infrastructure));
    let (allowed, infra_budget) = (job.spec.max_retries, limits.infra_budget);
    let lost = end.attempts.iter().filter(|it| it.outcome == Some(Outcome::Lost)).count() as u32;
    let mut wrong = Vec::new();
    if command > allowed {
        wrong.push(format!("its command failed {command} times before, and may {allowed} times"));
    }
    if job.retry_count != command {
        wrong.push(format!(
            "says {} retries, and its command failed {command} times before",
            job.retry_count
        ));
    }
    if infra > infra_budget {
        wrong.push(format!("we failed it {infra} times before, and may {infra_budget} times"));
    }
    if let Some(Outcome::Poison { lost: said }) = job.outcome
        && (said != lost || lost != limits.poison_after)
    {
        wrong.push(format!("is poison after {said} lost attempts, and lost {lost}"));
    }
    if lost > limits.poison_after || (lost == limits.poison_after && !is_final) {
        wrong.push(format!("lost {lost} workers and was given to a further one"));
    }
    if job.status == JobStatus::Failed && !stopped {
        match job.outcome.as_ref().and_then(budget) {
            Some(Blame::Command) if command < allowed => {
                wrong.push(format!("failed after {command} of {allowed} retries"));
            }
            Some(Blame::Infrastructure) if infra < infra_budget && job.spec.retry.on_lost => {
                wrong.push(format!("was given up after {infra} of {infra_budget} faults of ours"));
            }
            _ => {}
        }
    }
    wrong
}

/// In that case the last attempt failed on its own, and the retry that never ran was already paid.
fn was_cancelled_before_its_retry(end: &JobEnd) -> bool {
    let newest = end.attempts.last().and_then(|attempt| attempt.outcome.as_ref());
    end.job.status == JobStatus::Cancelled && newest.and_then(budget) == Some(Blame::Command)
}

/// Which budget pays for the attempt after this end; a hand-back is free.
fn budget(outcome: &Outcome) -> Option<Blame> {
    match outcome.blame() {
        _ if *outcome == Outcome::HandedBack => None,
        Blame::Nobody => None,
        blame => Some(blame),
    }
}

#[cfg(test)]
mod tests {
    use orchestra_contracts::{AttemptNo, JobStatus, Outcome};

    use super::super::{Invariant::I11, Wish, testing::Scene};

    const FAILS: Outcome = Outcome::Exited { code: 1 };

    /// A job with this retry limit whose attempts ended with these outcomes.
    fn ended(status: JobStatus, outcomes: &[Outcome], retries: u32) -> Scene {
        let mut scene = Scene::ended(status, outcomes[outcomes.len() - 1].clone());
        scene.plan().ends = Vec::new();
        scene.job().spec.max_retries = 2;
        scene.job().retry_count = retries;
        scene.job().attempt = Some(AttemptNo(outcomes.len() as u32));
        let attempts = outcomes.iter().enumerate().map(|(index, outcome)| {
            let mut attempt = scene.end.jobs[0].attempts[0].clone();
            attempt.number = AttemptNo(index as u32 + 1);
            attempt.outcome = Some(outcome.clone());
            attempt
        });
        scene.end.jobs[0].attempts = attempts.collect();
        scene.end.jobs[0].logs.clear();
        scene
    }

    #[test]
    fn as_many_retries_as_were_asked_for_are_right() {
        let scene = ended(JobStatus::Failed, &[FAILS, Outcome::Lost, FAILS, FAILS], 2);
        assert_eq!(scene.check().violations, []);
    }

    #[test]
    fn a_retry_too_many_and_one_too_few_are_seen() {
        ended(JobStatus::Failed, &[FAILS, FAILS, FAILS, FAILS], 3).breaks(I11);
        ended(JobStatus::Failed, &[FAILS, FAILS], 1).breaks(I11);
    }

    #[test]
    fn a_job_that_must_not_run_twice_is_given_up_at_once() {
        let mut scene = ended(JobStatus::Failed, &[Outcome::Lost], 0);
        scene.breaks(I11);
        scene.job().spec.retry.on_lost = false;
        assert!(!is_broken(&scene));
    }

    #[test]
    fn a_retry_that_was_paid_and_then_cancelled_counts() {
        let mut scene = ended(JobStatus::Cancelled, &[FAILS], 1);
        scene.answered(Wish::Cancel, 200, Some(AttemptNo(1)));
        assert!(!is_broken(&scene));
        scene.job().retry_count = 0;
        scene.breaks(I11);
    }

    fn is_broken(scene: &Scene) -> bool {
        scene.check().violations.iter().any(|violation| violation.invariant == I11)
    }

    #[test]
    fn what_we_broke_does_not_count_as_a_retry_of_the_commands() {
        ended(JobStatus::Failed, &[FAILS, Outcome::Lost, FAILS], 2).breaks(I11);
    }

    #[test]
    fn we_fail_a_job_as_often_as_our_budget_says() {
        let broken = Outcome::CouldNotStart { reason: "no engine".to_owned() };
        let broken = |times: usize| vec![broken.clone(); times];
        assert_eq!(ended(JobStatus::Failed, &broken(6), 0).check().violations, []);
        ended(JobStatus::Failed, &broken(7), 0).breaks(I11);
        ended(JobStatus::Failed, &broken(2), 0).breaks(I11);
    }

    #[test]
    fn a_job_that_loses_its_workers_is_poison_after_three() {
        let poison = |lost: usize, said: u32| {
            let mut scene = ended(JobStatus::Failed, &vec![Outcome::Lost; lost], 0);
            scene.job().outcome = Some(Outcome::Poison { lost: said });
            scene.ended_as(JobStatus::Failed, &Outcome::Poison { lost: said });
            scene
        };
        assert_eq!(poison(3, 3).check().violations, []);
        poison(2, 2).breaks(I11);
        poison(3, 2).breaks(I11);
        poison(4, 4).breaks(I11);
    }
}
