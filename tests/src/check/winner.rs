//! I3: one result an attempt and one end a job, attempt numbers without gaps, and granted requests
//! are honoured.

use std::time::Duration;

use orchestra_contracts::{JobStatus, Outcome};

use super::{End, Index, Invariant, JobEnd, Judgement, What, Wish};

/// A read of a job: when it was sent, when it was answered, and what it returned.
type Reading<'a> = (Duration, Duration, JobStatus, &'a Option<Outcome>);

pub(super) fn check(history: &Index<'_>, end: &End, found: &mut Judgement) {
    for end in &end.jobs {
        found.looked(Invariant::I3, 1);
        let retried = history.was_asked(end.job.id, Wish::Retry, Duration::MAX);
        attempts(end, retried, found);
        results(history, end, found);
        readings(history, end, found);
    }
    wishes(history, found);
}

fn attempts(end: &JobEnd, retried: bool, found: &mut Judgement) {
    let mut broken = |sentence: String| found.broken(Invariant::I3, end.job.id, sentence);
    let numbers: Vec<_> = end.attempts.iter().map(|attempt| attempt.number.0).collect();
    if !numbers.iter().copied().eq(1..=numbers.len() as u32) {
        broken(format!("its attempts are {numbers:?}"));
    }
    if end.job.attempt.map(|number| number.0) != numbers.last().copied() {
        broken(format!("says attempt {:?} and has {numbers:?}", end.job.attempt));
    }
    let Some((newest, older)) = end.attempts.split_last() else { return };
    for attempt in older.iter().filter(|attempt| attempt.outcome.is_none()) {
        broken(format!("attempt {} has no end and a successor", attempt.number));
    }
    let succeeded = older.iter().find(|it| it.outcome.as_ref().is_some_and(Outcome::is_success));
    if let Some(attempt) = succeeded.filter(|_| !retried) {
        broken(format!("attempt {} succeeded and has a successor", attempt.number));
    }
    let of_job = &end.job.outcome;
    // These two outcomes belong to the job, whatever its last attempt ended with.
    let of_job_alone = match of_job {
        Some(Outcome::Cancelled | Outcome::Skipped { .. }) => true,
        Some(Outcome::Poison { .. }) => newest.outcome == Some(Outcome::Lost),
        _ => false,
    };
    if end.job.status.is_final() && *of_job != newest.outcome && !of_job_alone {
        broken(format!("ended with {of_job:?}, its attempt with {:?}", newest.outcome));
    }
}

fn results(history: &Index<'_>, end: &JobEnd, found: &mut Judgement) {
    for attempt in &end.attempts {
        let mut accepted: Vec<_> = history
            .of(end.job.id)
            .filter_map(|(_, what)| match what {
                What::EndAccepted { attempt: of, outcome, .. } if *of == attempt.number => {
                    Some(outcome)
                }
                _ => None,
            })
            .collect();
        accepted.dedup();
        if let [one] = accepted[..] {
            if attempt.outcome.as_ref() != Some(one) {
                let sentence = format!(
                    "attempt {} was accepted as {one:?} and is stored as {:?}",
                    attempt.number, attempt.outcome
                );
                found.broken(Invariant::I3, end.job.id, sentence);
            }
        } else if !accepted.is_empty() {
            let sentence = format!("attempt {} has the results {accepted:?}", attempt.number);
            found.broken(Invariant::I3, end.job.id, sentence);
        }
    }
}

fn readings(history: &Index<'_>, end: &JobEnd, found: &mut Judgement) {
    let id = end.job.id;
    let mut all: Vec<Reading<'_>> = history
        .of(id)
        .filter_map(|(at, what)| match what {
            What::Seen { since, status, outcome, .. } => Some((*since, at, *status, outcome)),
            _ => None,
        })
        .collect();
    // The final read was sent after everything that was recorded.
    all.push((Duration::MAX, Duration::MAX, end.job.status, &end.job.outcome));
    let ended = all.iter().find(|(_, _, status, _)| status.is_final()).copied();
    let Some((_, known, first, outcome)) = ended else { return };
    for (since, at, status, other) in &all {
        let changed = *status != first || *other != outcome;
        if changed && *since > known && !history.was_asked(id, Wish::Retry, *at) {
            let sentence = format!("was {first} ({outcome:?}), then {status} ({other:?})");
            found.broken(Invariant::I3, id, sentence);
            return;
        }
    }
}

/// A request answered with 2xx is honoured: a deleted job stays gone, a cancelled job gets no
/// further attempt.
fn wishes(history: &Index<'_>, found: &mut Judgement) {
    for (at, what) in history.all() {
        let What::Answered { job, wish, status, attempt } = what else { continue };
        if !(200..300).contains(status) {
            continue;
        }
        let now = history.end(*job);
        match wish {
            Wish::Delete => {
                found.looked(Invariant::I3, 1);
                if now.is_some() {
                    found.broken(
                        Invariant::I3,
                        *job,
                        format!("was deleted at {at:?} and is there"),
                    );
                }
            }
            Wish::Cancel if !history.was_asked(*job, Wish::Retry, Duration::MAX) => {
                found.looked(Invariant::I3, 1);
                let newest = now.and_then(|end| end.job.attempt);
                if newest > *attempt {
                    let sentence =
                        format!("was cancelled in {attempt:?} and went on to {newest:?}");
                    found.broken(Invariant::I3, *job, sentence);
                }
            }
            Wish::Cancel | Wish::Retry => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use orchestra_contracts::{AttemptNo, JobId, JobStatus, Outcome};

    use super::super::{Invariant::I3, What, Wish, testing::Scene};

    const ONE: AttemptNo = AttemptNo(1);

    #[test]
    fn a_hole_in_the_attempts_is_seen() {
        let mut scene = Scene::good();
        scene.end.jobs[0].attempts[0].number = AttemptNo(2);
        scene.job().attempt = Some(AttemptNo(2));
        scene.breaks(I3);
    }

    #[test]
    fn a_job_that_names_another_attempt_is_seen() {
        let mut scene = Scene::good();
        scene.job().attempt = Some(AttemptNo(2));
        scene.breaks(I3);
    }

    #[test]
    fn a_job_that_ends_otherwise_than_its_attempt_is_seen() {
        let mut scene = Scene::good();
        scene.end.jobs[0].attempts[0].outcome = Some(Outcome::Lost);
        scene.breaks(I3);
    }

    #[test]
    fn an_attempt_without_an_end_has_no_successor() {
        let mut scene = Scene::good();
        let mut first = scene.end.jobs[0].attempts[0].clone();
        first.outcome = None;
        scene.end.jobs[0].attempts[0].number = AttemptNo(2);
        scene.end.jobs[0].attempts.insert(0, first);
        scene.job().attempt = Some(AttemptNo(2));
        scene.breaks(I3);
    }

    #[test]
    fn two_results_of_one_attempt_are_seen() {
        let mut scene = Scene::good();
        for code in [0, 1] {
            let outcome = Outcome::Exited { code };
            scene.then(What::EndAccepted { job: JobId(1), attempt: ONE, outcome });
        }
        scene.breaks(I3);
    }

    #[test]
    fn a_result_that_was_accepted_is_stored() {
        let mut scene = Scene::good();
        let outcome = Outcome::Exited { code: 7 };
        scene.then(What::EndAccepted { job: JobId(1), attempt: ONE, outcome });
        scene.breaks(I3);
    }

    #[test]
    fn an_end_that_changes_is_seen() {
        let mut scene = Scene::good();
        scene.seen(JobStatus::Failed, Some(Outcome::Exited { code: 1 }));
        scene.breaks(I3);
    }

    #[test]
    fn an_end_that_is_taken_back_is_seen_unless_somebody_asked_for_it() {
        let mut scene = Scene::good();
        scene.seen(JobStatus::Running, None);
        scene.breaks(I3);
        let mut scene = Scene::good();
        scene.then(What::Asked { job: JobId(1), wish: Wish::Retry });
        scene.seen(JobStatus::Running, None);
        scene.seen(JobStatus::Completed, Some(Outcome::Exited { code: 0 }));
        assert_eq!(scene.check().violations, []);
    }

    #[test]
    fn an_older_answer_that_arrives_late_is_no_change() {
        let mut scene = Scene::good();
        let since = scene.history.events[0].at;
        let (job, status) = (JobId(1), JobStatus::Running);
        scene.then(What::Seen { job, since, status, attempt: Some(ONE), outcome: None });
        assert_eq!(scene.check().violations, []);
    }

    #[test]
    fn a_deleted_job_stays_away() {
        let mut scene = Scene::good();
        scene.answered(Wish::Delete, 204, None);
        scene.breaks(I3);
    }

    #[test]
    fn a_cancelled_job_has_no_further_attempt() {
        let mut scene = Scene::good();
        scene.answered(Wish::Cancel, 200, None);
        scene.breaks(I3);
        let mut scene = Scene::good();
        scene.answered(Wish::Cancel, 202, Some(ONE));
        assert_eq!(scene.check().violations, []);
    }
}
