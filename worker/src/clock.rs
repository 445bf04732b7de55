//! The wall clock. It stamps log lines, and is compared with the engine's times. All timing in this
//! crate uses tokio's monotonic clock instead, which tests can pause.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// The current time, in the form of the engine's own times.
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

/// Converts a sandbox's monotonic times to wall time.
///
/// Nothing can have happened after we heard of it, so each event can only move the estimate of the
/// sandbox's time zero back. The resulting times never run backwards.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SandboxClock {
    /// The latest possible time zero of the sandbox.
    zero: u64,
}

impl SandboxClock {
    /// For a sandbox from which an event has just arrived.
    pub(crate) fn heard_at(now: u64) -> Self {
        Self { zero: now }
    }

    /// The wall time of the sandbox's time zero.
    pub(crate) fn zero(self) -> u64 {
        self.zero
    }

    /// The wall time of an event that happened `at` and arrived `now`.
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
        // The first event took two seconds to arrive.
        let mut clock = SandboxClock::heard_at(10_000_000);
        assert_eq!(clock.wall(ms(100), 10_100_000), 10_100_000);
        // The next one arrives without delay, which corrects the estimate.
        assert_eq!(clock.wall(ms(2_200), 10_200_000), 10_200_000);
        assert_eq!(clock.wall(ms(2_300), 10_900_000), 10_300_000);
    }
}
