//! The wall clock. It stamps log lines and is compared with the engine's: everything that
//! is timed here runs on tokio's monotonic clock, which tests can hold.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// As the engine tells times of its own.
pub(crate) fn now() -> Timestamp {
    let micros = i64::try_from(wall_micros()).unwrap_or(i64::MAX);
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX)
}

/// Microseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "this is the clock that the rule speaks of")]
pub(crate) fn wall_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    micros(since)
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Wall time for what a sandbox stamped with its own monotonic clock.
///
/// Nothing can have happened after we heard of it, so everything that arrives
/// can only move the sandbox's time zero back. Times never run backwards by it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SandboxClock {
    /// The latest that the sandbox's time zero can have been.
    zero: u64,
}

impl SandboxClock {
    /// Of a sandbox from which something was heard just now.
    pub(crate) fn heard_at(now: u64) -> Self {
        Self { zero: now }
    }

    /// The wall time of the sandbox's beginning.
    pub(crate) fn zero(self) -> u64 {
        self.zero
    }

    /// The wall time of what happened `at`, heard of `now`.
    pub(crate) fn wall(&mut self, at: Duration, now: u64) -> u64 {
        let at = micros(at);
        self.zero = self.zero.min(now.saturating_sub(at));
        self.zero.saturating_add(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_happens_after_it_was_heard_of_and_order_is_kept() {
        let ms = Duration::from_millis;
        // The first word took two seconds to arrive.
        let mut clock = SandboxClock::heard_at(10_000_000);
        assert_eq!(clock.wall(ms(100), 10_100_000), 10_100_000);
        // The next one arrives without delay, and shows it.
        assert_eq!(clock.wall(ms(2_200), 10_200_000), 10_200_000);
        assert_eq!(clock.wall(ms(2_300), 10_900_000), 10_300_000);
    }
}
