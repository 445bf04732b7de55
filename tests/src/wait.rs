//! Waiting for a condition, with named time limits.
//!
//! The limits are generous: they tell when a run is stuck, not how fast it must be.

use std::time::{Duration, Instant};

/// For a program to start and answer.
pub const START: Duration = Duration::from_mins(1);
/// For a program to end after it was asked to.
pub const STOP: Duration = Duration::from_mins(1);
/// For a short job to finish, with its image already present.
pub const JOB: Duration = Duration::from_mins(2);
/// For an immediate effect: a state, a line, a container's removal.
pub const SOON: Duration = Duration::from_mins(1);
/// For one CLI command that does not wait for anything.
pub const COMMAND: Duration = Duration::from_mins(1);
/// For the job image to be bootstrapped and built.
pub const IMAGE: Duration = Duration::from_mins(15);

/// Time between two polls: short beside a container's start, long beside a request.
const PAUSE: Duration = Duration::from_millis(25);

/// Polls until `look` returns something.
///
/// # Panics
/// When it returns nothing `within` the limit; `what` completes "waited for".
pub async fn until<T>(what: &str, within: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(start.elapsed() < within, "waited {within:?} for {what}");
        tokio::time::sleep(PAUSE).await;
    }
}
