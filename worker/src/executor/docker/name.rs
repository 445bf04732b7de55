//! The names of job containers. A name says which attempt a container is of: a label could not,
//! for a warm sandbox is made before its job is known, and labels cannot be changed.

use orchestra_contracts::{AttemptNo, JobId};
use orchestra_sandbox::protocol::Attempt;

const WARM: &str = "orchestra-warm-";

/// The container of an attempt; no two are called the same.
pub(super) fn of_attempt(job: JobId, attempt: AttemptNo) -> String {
    format!("orchestra-{job}-{attempt}-{:08x}", rand::random::<u32>())
}

/// An attempt, as sandboxes are told it and say it.
pub(super) fn told(job: JobId, attempt: AttemptNo) -> Attempt {
    Attempt { job: job.0, number: attempt.0 }
}

/// One that waits for its job, or has not been renamed since it got it: then its sandbox has
/// said whose it is, see `taken.rs`.
pub(super) fn of_warm() -> String {
    format!("{WARM}{:08x}", rand::random::<u32>())
}

pub(super) fn is_warm(name: &str) -> bool {
    name.starts_with(WARM)
}

/// One that tells the addresses of the engine's machine.
pub(super) fn of_helper() -> String {
    format!("orchestra-addresses-{:08x}", rand::random::<u32>())
}

/// Whose container this is. What stands behind a point are those who took it over (`sweep.rs`);
/// helpers are called after their job, with a word more.
pub(super) fn attempt_in(name: &str) -> Option<(JobId, AttemptNo)> {
    let (name, _) = name.split_once('.').unwrap_or((name, ""));
    let parts: Vec<_> = name.strip_prefix("orchestra-")?.split('-').collect();
    let &[job, attempt, _distinct] = &parts[..] else { return None };
    Some((JobId(job.parse().ok()?), AttemptNo(attempt.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_whose_container_it_is() {
        let ours = (JobId(7), AttemptNo(12));
        assert_eq!(attempt_in(&of_attempt(ours.0, ours.1)), Some(ours));
        assert_eq!(attempt_in("orchestra-7-12-0123abcd.30.300"), Some(ours));
        for other in [
            &of_warm(),
            &of_helper(),
            "orchestra-7-12-0123abcd-wall",
            "orchestra-sandbox-0123abcd",
            "orchestra-left-0123abcd",
            "job-7-12-0123abcd",
            "orchestra-7-x-0123abcd",
        ] {
            assert_eq!(attempt_in(other), None, "{other}");
        }
    }
}
