//! Whose fault a failed build is, and which folders are known to be at fault.
//!
//! The same folder fails in the same way, so a job gains nothing from another try and is refused.
//! The faults of a network, a registry or the engine may be temporary, so those builds are tried
//! again, on Orchestra's own budget. When in doubt the folder is at fault: the reason is in the
//! job, and its reader can judge better.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bollard::errors::Error;
use tokio::time::Instant;

/// A folder whose build failed is not built again for this long. What it fetches (packages, its
/// base) changes without an edit, so this is not forever.
const REMEMBERED: Duration = Duration::from_mins(10);

/// What tools, registries and kernels print when the Dockerfile is not at fault, in lower case.
const TROUBLE: [&str; 25] = [
    "bad gateway",
    "cannot allocate memory",
    "client.timeout",
    "connection refused",
    "connection reset",
    "connection timed out",
    "could not connect",
    "could not resolve",
    "deadline exceeded",
    "failed to fetch",
    // An image in the engine's build cache was removed during the build.
    "failed to get digest",
    "gateway time-out",
    "hash sum mismatch",
    "i/o timeout",
    "name resolution",
    "network is unreachable",
    "no route to host",
    "no space left on device",
    "no such host",
    "returned a non-zero code: 137",
    "service unavailable",
    "temporary failure",
    "tls handshake timeout",
    "too many requests",
    "unable to connect",
];

/// Whether a failed build may succeed next time. `said` is the reason together with the last lines
/// of the build.
pub(super) fn may_pass(err: &Error, said: &str) -> bool {
    match err {
        // The engine cannot read the Dockerfile.
        Error::DockerResponseServerError { status_code: 400..=499, .. } => false,
        Error::DockerStreamError { .. } => tells_of_trouble(said),
        // Failures of the engine, and broken connections to it.
        _ => true,
    }
}

fn tells_of_trouble(said: &str) -> bool {
    let said = said.to_lowercase();
    TROUBLE.iter().any(|sign| said.contains(sign))
}

/// The references that could not be built, each with the reason. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Broken(Arc<Mutex<HashMap<String, (Instant, String)>>>);

impl Broken {
    pub(super) fn note(&self, reference: &str, reason: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, (at, _)| at.elapsed() < REMEMBERED);
        all.insert(reference.to_owned(), (Instant::now(), reason.to_owned()));
    }

    /// Why its build failed, and how long ago, if that is still remembered.
    pub(super) fn reason(&self, reference: &str) -> Option<(String, Duration)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, reason) = all.get(reference).filter(|(at, _)| at.elapsed() < REMEMBERED)?;
        Some((reason.clone(), at.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("The command '/bin/sh -c make' returned a non-zero code: 2\n  make: *** No rule", false)]
    #[case("COPY failed: file not found in build context or excluded: stat x: no such file", false)]
    #[case("pull access denied for nonsense, repository does not exist", false)]
    #[case("returned a non-zero code: 100\n  E: Unable to locate package gdc-99", false)]
    #[case(
        "returned a non-zero code: 100\n  Err:1 Temporary failure resolving 'deb.debian.org'",
        true
    )]
    #[case("returned a non-zero code: 100\n  E: Failed to fetch http://deb.debian.org/x.deb", true)]
    #[case("returned a non-zero code: 6\n  curl: (6) Could not resolve host: example.org", true)]
    #[case("Get https://registry-1.docker.io/v2/: dial tcp 10.0.0.1:443: i/o timeout", true)]
    #[case("write /usr/lib/x.so: no space left on device", true)]
    #[case::its_cache_was_removed(
        "failed to get digest sha256:9f1e: open /var/lib/docker/image/x: no such file or directory",
        true
    )]
    #[case::killed_from_outside("The command 'make' returned a non-zero code: 137", true)]
    fn a_step_that_fails_is_told_from_a_network_that_does(
        #[case] said: &str,
        #[case] passes: bool,
    ) {
        let err = Error::DockerStreamError { error: said.to_owned() };
        assert_eq!(may_pass(&err, said), passes, "{said}");
    }

    #[test]
    fn what_the_engine_refuses_to_read_is_the_folders_fault_and_its_own_failures_are_not() {
        let answer = |status_code| {
            let message = "dockerfile parse error line 1".to_owned();
            may_pass(&Error::DockerResponseServerError { status_code, message }, "")
        };
        assert!(!answer(400));
        assert!(answer(500));
        assert!(may_pass(&Error::RequestTimeoutError, ""));
    }

    #[tokio::test(start_paused = true)]
    async fn a_folder_is_held_to_its_failure_for_a_while() {
        let broken = Broken::default();
        broken.note("orchestra/a:1", "no rule");
        let ago = REMEMBERED.saturating_sub(Duration::from_secs(1));
        tokio::time::advance(ago).await;
        assert_eq!(broken.reason("orchestra/a:1"), Some(("no rule".to_owned(), ago)));
        assert_eq!(broken.reason("orchestra/a:2"), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(broken.reason("orchestra/a:1"), None);
    }
}
