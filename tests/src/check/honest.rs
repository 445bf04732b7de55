//! I9: every failure states its cause, and states it correctly.

use std::time::Duration;

use orchestra_contracts::{Attempt, Blame, JobStatus, Outcome};

use super::{End, Index, Invariant, JobEnd, Judgement, What, Wish};

pub(super) fn check(history: &Index<'_>, end: &End, found: &mut Judgement) {
    let faults = history.all().any(|(_, what)| matches!(what, What::Fault { .. }));
    for end in &end.jobs {
        found.looked(Invariant::I9, 1);
        if let Some(sentence) = status(end) {
            found.broken(Invariant::I9, end.job.id, sentence);
        }
        for attempt in &end.attempts {
            if let Some(sentence) = cause(history, end, attempt, faults) {
                found.broken(Invariant::I9, end.job.id, sentence);
            }
        }
    }
}

fn status(end: &JobEnd) -> Option<String> {
    let job = &end.job;
    if !job.status.is_final() {
        return None;
    }
    let right = match &job.outcome {
        None => return Some(format!("is {} and does not say why", job.status)),
        Some(outcome) if outcome.is_success() => JobStatus::Completed,
        Some(Outcome::Cancelled | Outcome::Skipped { .. }) => JobStatus::Cancelled,
        Some(_) => JobStatus::Failed,
    };
    if job.status != right {
        return Some(format!("is {} with {:?}", job.status, job.outcome));
    }
    let silent = job.reason.as_ref().is_none_or(|reason| reason.trim().is_empty());
    (silent && job.status == JobStatus::Failed).then(|| "failed and gives no reason".to_owned())
}

fn cause(history: &Index<'_>, end: &JobEnd, attempt: &Attempt, faults: bool) -> Option<String> {
    let outcome = attempt.outcome.as_ref()?;
    let plan = history.plan(end.job.id, end.request())?;
    if plan.ends.is_empty() || plan.ends.contains(outcome) {
        return None;
    }
    let asked = |wish| history.was_asked(end.job.id, wish, Duration::MAX);
    let excused = match outcome {
        Outcome::Cancelled => asked(Wish::Cancel) || asked(Wish::Delete),
        other => other.blame() == Blame::Infrastructure && faults,
    };
    let expected = &plan.ends;
    let number = attempt.number;
    (!excused).then(|| format!("attempt {number} ended with {outcome:?}, not {expected:?}"))
}

#[cfg(test)]
mod tests {
    use orchestra_contracts::{JobStatus, Outcome};

    use super::super::{
        Invariant::I9,
        What,
        testing::{Scene, fault},
    };

    #[test]
    fn a_failure_without_a_reason_is_seen() {
        let mut scene = Scene::ended(JobStatus::Failed, Outcome::Lost);
        scene.then(fault());
        scene.job().reason = None;
        scene.breaks(I9);
    }

    #[test]
    fn a_status_that_denies_its_outcome_is_seen() {
        Scene::ended(JobStatus::Completed, Outcome::Exited { code: 1 }).breaks(I9);
        Scene::ended(JobStatus::Failed, Outcome::Exited { code: 0 }).breaks(I9);
    }

    #[test]
    fn an_end_that_the_command_cannot_come_to_is_seen() {
        Scene::ended(JobStatus::Failed, Outcome::Exited { code: 9 }).breaks(I9);
    }

    #[test]
    fn a_fault_of_ours_needs_a_fault() {
        let mut scene = Scene::good();
        scene.history.events.retain(|event| !matches!(event.what, What::Fault { .. }));
        scene.end.jobs[0].attempts[0].outcome = Some(Outcome::Lost);
        scene.breaks(I9);
    }

    #[test]
    fn a_cancel_that_nobody_asked_for_is_seen() {
        Scene::ended(JobStatus::Cancelled, Outcome::Cancelled).breaks(I9);
    }
}
