//! I5: two containers of a job never run at once, and none outlives its lease.

use std::{collections::BTreeMap, time::Duration};

use orchestra_contracts::{AttemptNo, JobId, WorkerName};

use super::{End, History, Index, Invariant, Judgement, Limits, What};

/// The interval during which a container may have run.
#[derive(Debug)]
struct Life<'a> {
    attempt: AttemptNo,
    worker: &'a WorkerName,
    from: Duration,
    to: Duration,
}

pub(super) fn check(history: &Index<'_>, end: &End, limits: &Limits, found: &mut Judgement) {
    for (job, lives) in lives(history.all(), end) {
        found.looked(Invariant::I5, lives.len());
        for (index, one) in lives.iter().enumerate() {
            for two in &lives[..index] {
                let both = overlap(one, two);
                if both > limits.overlap {
                    let sentence = format!(
                        "attempt {} on {} and attempt {} on {} ran at once for {both:?}",
                        two.attempt, two.worker, one.attempt, one.worker
                    );
                    found.broken(Invariant::I5, job, sentence);
                }
            }
            let until = history.of(job).filter_map(|(_, what)| match what {
                What::LeaseUntil { attempt, until, .. } if *attempt == one.attempt => Some(*until),
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
                found.broken(Invariant::I5, job, sentence);
            }
        }
    }
}

/// The longest time for which two containers of one job may both have been running.
pub fn longest_overlap(history: &History, end: &End) -> Duration {
    let events = history.events.iter().map(|event| (event.at, &event.what));
    let of_one_job = |lives: Vec<Life<'_>>| {
        let pairs = lives.iter().enumerate();
        let pairs =
            pairs.flat_map(|(index, one)| lives[..index].iter().map(|two| overlap(one, two)));
        pairs.max().unwrap_or_default()
    };
    lives(events, end).into_values().map(of_one_job).max().unwrap_or_default()
}

fn overlap(one: &Life<'_>, two: &Life<'_>) -> Duration {
    one.to.min(two.to).saturating_sub(one.from.max(two.from))
}

/// The intervals of each job, ordered by their start.
fn lives<'a>(
    events: impl Iterator<Item = (Duration, &'a What)>,
    end: &End,
) -> BTreeMap<JobId, Vec<Life<'a>>> {
    let mut all: BTreeMap<JobId, Vec<Life<'a>>> = BTreeMap::new();
    for (at, what) in events {
        match what {
            What::ContainerStarted { job, attempt, worker } => {
                let life = Life { attempt: *attempt, worker, from: at, to: Duration::MAX };
                all.entry(*job).or_default().push(life);
            }
            What::ContainerGone { job, attempt, worker } => {
                let lives = all.entry(*job).or_default();
                let running = lives.iter_mut().rev().find(|life| {
                    (life.attempt, life.worker) == (*attempt, worker) && life.to == Duration::MAX
                });
                if let Some(life) = running {
                    life.to = at;
                }
            }
            _ => {}
        }
    }
    // A container whose end was never seen counts as running until the end of the observation.
    for life in all.values_mut().flatten().filter(|life| life.to == Duration::MAX) {
        life.to = end.at.max(life.from);
    }
    all
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
