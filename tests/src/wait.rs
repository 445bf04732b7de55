//! Waiting for a condition, with a limit that has a name.
//!
//! The limits are generous: they say when a run is stuck, not how fast it must be.

use std::time::{Duration, Instant};

/// A program is up and answers.
pub const START: Duration = Duration::from_mins(1);
/// A program has ended after it was asked to.
pub const STOP: Duration = Duration::from_mins(1);
/// A short job has been through all its states, with its image at hand.
pub const JOB: Duration = Duration::from_mins(2);
/// Something that follows at once: a state, a line, a container's removal.
pub const SOON: Duration = Duration::from_mins(1);
/// One command of the command line that waits for nothing.
pub const COMMAND: Duration = Duration::from_mins(1);
/// The job image is bootstrapped and built.
pub const IMAGE: Duration = Duration::from_mins(15);

/// Between two looks: short beside a container's start, long beside a request.
const PAUSE: Duration = Duration::from_millis(25);

/// Looks until `look` finds something.
///
/// # Panics
/// When it has found nothing `within` the limit; `what` completes "waited for".
pub async fn until<T>(what: &str, within: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(start.elapsed() < within, "waited {within:?} for {what}, in vain");
        tokio::time::sleep(PAUSE).await;
    }
}
