//! The one place in the master that asks the system for the time.

use std::fmt;

use jiff::{Timestamp, ToSpan as _};

/// Where `now` comes from. Everything below the service takes it as an argument.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time, in whole milliseconds, which is what the database keeps.
    fn now(&self) -> Timestamp;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the place that the ban points to")]
    fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        now - now.subsec_nanosecond().rem_euclid(1_000_000).nanoseconds()
    }
}
