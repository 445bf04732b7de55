//! The wall clock, for the date of a report and for timestamps that cross processes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// Time since 1970. A job on the same machine reads the same clock.
#[expect(clippy::disallowed_methods, reason = "this is the clock that the rule speaks of")]
pub(crate) fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Today's date, like 2026-11-29.
pub(crate) fn today() -> String {
    let now = i64::try_from(since_epoch().as_secs()).unwrap_or_default();
    let now = Timestamp::from_second(now).unwrap_or(Timestamp::UNIX_EPOCH);
    now.to_string().chars().take_while(|letter| *letter != 'T').collect()
}
