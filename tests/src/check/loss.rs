//! I1, I2, I12: every accepted job finishes, and in time; no other job exists.

use std::{collections::BTreeMap, time::Duration};

use orchestra_contracts::JobId;

use super::{End, Index, Invariant, Judgement, Limits, What, Wish};

pub(super) fn check(history: &Index<'_>, end: &End, limits: &Limits, found: &mut Judgement) {
    lost(history, found);
    invented(history, end, found);
    late(history, end, limits, found);
}

/// Acknowledged jobs that nobody asked to delete, with the time of the answer.
fn owed(history: &Index<'_>) -> impl Iterator<Item = (Duration, JobId)> {
    history.all().filter_map(|(at, what)| match what {
        What::Submitted { job, .. } if !history.was_asked(*job, Wish::Delete, Duration::MAX) => {
            Some((at, *job))
        }
        _ => None,
    })
}

fn lost(history: &Index<'_>, found: &mut Judgement) {
    for (_, id) in owed(history) {
        found.looked(Invariant::I1, 1);
        match history.end(id) {
            None => {
                let sentence = "was answered with 201 and is not there any more".to_owned();
                found.broken(Invariant::I1, id, sentence);
            }
            Some(end) if !end.job.status.is_final() => {
                let sentence = format!("was answered with 201 and is still {}", end.job.status);
                found.broken(Invariant::I1, id, sentence);
            }
            Some(_) => {}
        }
    }
    for (at, what) in history.all() {
        let What::Missing { job, since } = what else { continue };
        let known = history
            .of(*job)
            .any(|(answered, what)| answered <= *since && matches!(what, What::Submitted { .. }));
        if known && !history.was_asked(*job, Wish::Delete, at) {
            found.broken(Invariant::I1, *job, format!("was not found at {at:?}"));
        }
    }
}

fn invented(history: &Index<'_>, end: &End, found: &mut Judgement) {
    let mut of_request: BTreeMap<&String, JobId> = BTreeMap::new();
    for end in &end.jobs {
        found.looked(Invariant::I2, 1);
        let id = end.job.id;
        let plan = history.plan(id, end.request());
        if plan.is_none_or(|plan| plan.command != end.job.spec.command) {
            found.broken(Invariant::I2, id, "nobody submitted it".to_owned());
        }
        let Some(request) = end.request() else { continue };
        if history.is_refused(request) {
            found.broken(Invariant::I2, id, format!("its submit {request} was refused"));
        }
        if let Some(other) = of_request.insert(request, id) {
            found.broken(Invariant::I2, id, format!("submit {request} made job {other} too"));
        }
    }
}

fn late(history: &Index<'_>, end: &End, limits: &Limits, found: &mut Judgement) {
    let healed = history.all().filter(|(_, what)| matches!(what, What::Healed)).last();
    let Some((healed, _)) = healed else { return };
    for (accepted, id) in owed(history) {
        let retried = last_retry(history, id);
        let begin = accepted.max(healed).max(retried);
        let limit = begin + limits.settle;
        let ended = history.of(id).find(|(at, what)| {
            *at >= retried && matches!(what, What::Seen { status, .. } if status.is_final())
        });
        match ended {
            Some((at, _)) => {
                found.looked(Invariant::I12, 1);
                if at > limit {
                    let sentence = format!("ended {:?} after the faults", at.saturating_sub(begin));
                    found.broken(Invariant::I12, id, sentence);
                }
            }
            None if end.at > limit => {
                found.looked(Invariant::I12, 1);
                if !history.end(id).is_some_and(|end| end.job.status.is_final()) {
                    let sentence = format!(
                        "has not ended {:?} after the faults",
                        end.at.saturating_sub(begin)
                    );
                    found.broken(Invariant::I12, id, sentence);
                }
            }
            None => {}
        }
    }
}

fn last_retry(history: &Index<'_>, id: JobId) -> Duration {
    let mut asked =
        history.of(id).filter(|(_, what)| matches!(what, What::Asked { wish: Wish::Retry, .. }));
    asked.next_back().map_or(Duration::ZERO, |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use orchestra_contracts::{JobId, JobStatus};

    use super::super::{
        Invariant::{I1, I2, I12},
        What, Wish,
        testing::Scene,
    };

    #[test]
    fn a_job_that_is_gone_was_lost() {
        let mut scene = Scene::good();
        scene.end.jobs.clear();
        scene.breaks(I1);
    }

    #[test]
    fn a_job_that_waits_for_ever_was_lost() {
        let mut scene = Scene::good();
        scene.job().status = JobStatus::Pending;
        scene.breaks(I1);
    }

    #[test]
    fn a_job_that_was_not_found_for_a_while_was_lost() {
        let mut scene = Scene::good();
        scene.then(What::Missing { job: JobId(1), since: scene.now() });
        scene.breaks(I1);
    }

    #[test]
    fn a_deleted_job_is_not_lost() {
        let mut scene = Scene::good();
        scene.then(What::Asked { job: JobId(1), wish: Wish::Delete });
        scene.then(What::Missing { job: JobId(1), since: scene.now() });
        scene.end.jobs.clear();
        assert_eq!(scene.check().violations, []);
    }

    #[test]
    fn a_job_of_nobody_was_invented() {
        let mut scene = Scene::good();
        let mut other = scene.end.jobs[0].clone();
        other.job.id = JobId(2);
        other.job.spec.labels.clear();
        scene.end.jobs.push(other);
        scene.breaks(I2);
    }

    #[test]
    fn one_submit_makes_one_job() {
        let mut scene = Scene::good();
        let mut other = scene.end.jobs[0].clone();
        other.job.id = JobId(2);
        scene.end.jobs.push(other);
        scene.breaks(I2);
    }

    #[test]
    fn a_refused_submit_makes_none() {
        let mut scene = Scene::good();
        scene.then(What::SubmitRefused { request: 1, status: 503 });
        scene.breaks(I2);
    }

    #[test]
    fn a_job_that_ends_long_after_the_faults_is_late() {
        let mut scene = Scene::good();
        scene.seen_at(Duration::from_hours(2), JobStatus::Completed);
        scene.breaks(I12);
    }

    #[test]
    fn a_job_that_never_ends_is_late_too() {
        let mut scene = Scene::good();
        scene.history.events.retain(|event| !matches!(event.what, What::Seen { .. }));
        scene.job().status = JobStatus::Pending;
        scene.end.at = Duration::from_hours(2);
        scene.breaks(I12);
    }
}
