//! I4: a write under an old lease changes nothing.

use std::time::Duration;

use orchestra_contracts::{AttemptNo, JobId};

use super::{End, Index, Invariant, Judgement, What};

pub(super) fn check(history: &Index<'_>, end: &End, found: &mut Judgement) {
    let mut refusals = 0;
    for (at, what) in history.all() {
        match what {
            What::StaleWrite { job, attempt, refused } => {
                found.looked(Invariant::I4, 1);
                refusals += u64::from(*refused);
                if !refused {
                    let sentence = format!("a late write of attempt {attempt} was taken at {at:?}");
                    found.broken(Invariant::I4, *job, sentence);
                }
            }
            What::EndAccepted { job, attempt, .. } => {
                found.looked(Invariant::I4, 1);
                if let Some(successor) = begun_before(history, *job, *attempt, at) {
                    let sentence =
                        format!("the end of attempt {attempt} was taken after {successor} began");
                    found.broken(Invariant::I4, *job, sentence);
                }
            }
            _ => {}
        }
    }
    if let Some(counted) = end.fenced {
        found.looked(Invariant::I4, usize::from(counted > 0));
        if counted < refusals {
            let sentence = format!("{refusals} writes were refused, and {counted} were counted");
            found.broken(Invariant::I4, None, sentence);
        }
    }
}

/// A later attempt of the job whose container started before this time.
fn begun_before(
    history: &Index<'_>,
    of: JobId,
    than: AttemptNo,
    time: Duration,
) -> Option<AttemptNo> {
    history.of(of).find_map(|(at, what)| match what {
        What::ContainerStarted { attempt, .. } if *attempt > than && at < time => Some(*attempt),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use orchestra_contracts::{AttemptNo, JobId, Outcome};

    use super::super::{Invariant::I4, What, testing::Scene};

    const JOB: JobId = JobId(1);
    const ONE: AttemptNo = AttemptNo(1);

    #[test]
    fn a_late_write_that_was_taken_is_seen() {
        let mut scene = Scene::good();
        scene.then(What::StaleWrite { job: JOB, attempt: ONE, refused: false });
        scene.breaks(I4);
    }

    #[test]
    fn a_refused_write_that_was_not_counted_is_seen() {
        let mut scene = Scene::good();
        scene.then(What::StaleWrite { job: JOB, attempt: ONE, refused: true });
        scene.end.fenced = Some(0);
        scene.breaks(I4);
    }

    #[test]
    fn the_end_of_an_attempt_that_has_a_successor_is_late() {
        let mut scene = Scene::good();
        scene.started(AttemptNo(2), "two");
        scene.gone(AttemptNo(2), "two");
        let outcome = Outcome::Exited { code: 0 };
        scene.then(What::EndAccepted { job: JOB, attempt: ONE, outcome });
        scene.breaks(I4);
    }
}
