//! The names of job containers. A name identifies the attempt that a container belongs to. A label
//! could not: a warm sandbox is made before its job is known, and labels cannot be changed.

use orchestra_contracts::{AttemptNo, JobId};
use orchestra_sandbox::protocol::Attempt;

const WARM: &str = "orchestra-warm-";

/// A name for the container of an attempt. No two are the same.
pub(super) fn of_attempt(job: JobId, attempt: AttemptNo) -> String {
    format!("orchestra-{job}-{attempt}-{:08x}", rand::random::<u32>())
}

/// An attempt in the form that sandboxes use.
pub(super) fn told(job: JobId, attempt: AttemptNo) -> Attempt {
    Attempt { job: job.0, number: attempt.0 }
}

/// A name for a warm container. It keeps this name until it is renamed after its job; until then
/// its sandbox has said which attempt it took, see `taken.rs`.
pub(super) fn of_warm() -> String {
    format!("{WARM}{:08x}", rand::random::<u32>())
}

pub(super) fn is_warm(name: &str) -> bool {
    name.starts_with(WARM)
}

/// A name for a helper that reports the addresses of the engine's machine.
pub(super) fn of_helper() -> String {
    format!("orchestra-addresses-{:08x}", rand::random::<u32>())
}

/// The attempt that this container belongs to. What follows a dot identifies the process that took
/// it over (`sweep.rs`). Helpers are named after their job with one more word.
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
