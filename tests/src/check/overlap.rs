//! I5: two containers of a job never run at once, and none runs on after its lease.

use std::time::Duration;

use orchestra_contracts::{AttemptNo, JobId, WorkerName};

use super::{End, History, Invariant, Judgement, Limits, What};

/// From when to when a container may have run.
#[derive(Debug)]
struct Life<'a> {
    job: JobId,
    attempt: AttemptNo,
    worker: &'a WorkerName,
    from: Duration,
    to: Duration,
}

pub(super) fn check(history: &History, end: &End, limits: &Limits, found: &mut Judgement) {
    let lives = lives(history, end);
    found.looked(Invariant::I5, lives.len());
    for (index, one) in lives.iter().enumerate() {
        for two in lives[..index].iter().filter(|two| two.job == one.job) {
            let both = one.to.min(two.to).saturating_sub(one.from.max(two.from));
            if both > limits.overlap {
                let sentence = format!(
                    "attempt {} on {} and attempt {} on {} ran at once for {both:?}",
                    two.attempt, two.worker, one.attempt, one.worker
                );
                found.broken(Invariant::I5, one.job, sentence);
            }
        }
        let until = history.all().filter_map(|(_, what)| match what {
            What::LeaseUntil { job, attempt, until }
                if *job == one.job && *attempt == one.attempt =>
            {
                Some(*until)
            }
            _ => None,
        });
        let Some(until) = until.max() else { continue };
        if one.to > until + limits.outlive {
            let sentence = format!(
                "attempt {} ran on {} for {:?} after its lease",
                one.attempt,
                one.worker,
                one.to.saturating_sub(until)
            );
            found.broken(Invariant::I5, one.job, sentence);
        }
    }
}

/// The longest time for which two containers of one job may both have run.
pub fn longest_overlap(history: &History, end: &End) -> Duration {
    let lives = lives(history, end);
    let pairs = lives.iter().enumerate().flat_map(|(index, one)| {
        let earlier = lives[..index].iter().filter(move |two| two.job == one.job);
        earlier.map(move |two| one.to.min(two.to).saturating_sub(one.from.max(two.from)))
    });
    pairs.max().unwrap_or_default()
}

fn lives<'a>(history: &'a History, end: &End) -> Vec<Life<'a>> {
    let mut lives: Vec<Life<'a>> = Vec::new();
    for (at, what) in history.all() {
        match what {
            What::ContainerStarted { job, attempt, worker } => {
                let (job, attempt) = (*job, *attempt);
                lives.push(Life { job, attempt, worker, from: at, to: Duration::MAX });
            }
            What::ContainerGone { job, attempt, worker } => {
                let running = lives.iter_mut().rev().find(|life| {
                    (life.job, life.attempt, life.worker) == (*job, *attempt, worker)
                        && life.to == Duration::MAX
                });
                if let Some(life) = running {
                    life.to = at;
                }
            }
            _ => {}
        }
    }
    // One that was never seen to go ran on for as long as anybody looked.
    for life in lives.iter_mut().filter(|life| life.to == Duration::MAX) {
        life.to = end.at.max(life.from);
    }
    lives
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use orchestra_contracts::{AttemptNo, JobId};

    use super::super::{Invariant::I5, What, testing::Scene};

    #[test]
    fn two_attempts_at_once_are_seen() {
        let mut scene = Scene::good();
        scene.started(AttemptNo(1), "one");
        scene.started(AttemptNo(2), "two");
        scene.gone(AttemptNo(1), "one");
        scene.gone(AttemptNo(2), "two");
        scene.breaks(I5);
        assert_eq!(super::longest_overlap(&scene.history, &scene.end), Scene::STEP);
    }

    #[test]
    fn one_attempt_on_two_workers_is_seen() {
        let mut scene = Scene::good();
        scene.started(AttemptNo(1), "one");
        scene.started(AttemptNo(1), "two");
        scene.gone(AttemptNo(1), "one");
        scene.gone(AttemptNo(1), "two");
        scene.breaks(I5);
    }

    #[test]
    fn a_container_that_outlives_its_lease_is_seen() {
        let mut scene = Scene::good();
        let until = scene.now();
        scene.then(What::LeaseUntil { job: JobId(1), attempt: AttemptNo(2), until });
        scene.started(AttemptNo(2), "two");
        scene.later(Duration::from_mins(1));
        scene.gone(AttemptNo(2), "two");
        scene.breaks(I5);
    }

    #[test]
    fn a_container_that_never_goes_outlives_its_lease() {
        let mut scene = Scene::good();
        let until = scene.now();
        scene.then(What::LeaseUntil { job: JobId(1), attempt: AttemptNo(2), until });
        scene.started(AttemptNo(2), "two");
        scene.end.at = scene.now() + Duration::from_mins(1);
        scene.breaks(I5);
    }
}
