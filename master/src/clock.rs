//! The only place in the master that reads the system time. It also keeps that time from going
//! backwards.

use std::{
    fmt,
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp, ToSpan as _};

/// The source of `now`. Everything below the service takes `now` as an argument.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The current time in whole milliseconds, the resolution of the database.
    fn now(&self) -> Timestamp;

    /// Monotonic time since a fixed moment. It never jumps, whatever [`Clock::now`] does.
    fn passed(&self) -> Duration;

    /// Sets this clock by a shared one, which shows `now`.
    fn adjust(&self, _now: Timestamp) {}
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

    fn passed(&self) -> Duration {
        static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
        BEGAN.elapsed()
    }
}

/// The system's clock, adjusted to one that several masters share: a lease that one master grants
/// may be expired by another.
#[derive(Debug)]
pub struct AdjustedClock {
    own: Arc<dyn Clock>,
    /// Milliseconds by which the shared clock is ahead.
    ahead: AtomicI64,
}

/// Differences up to this size are ignored: a round trip to the database can cause them.
const NOISE: SignedDuration = SignedDuration::from_millis(5);

impl AdjustedClock {
    /// Unadjusted until the first [`Clock::adjust`].
    pub fn new(own: Arc<dyn Clock>) -> Self {
        Self { own, ahead: AtomicI64::new(0) }
    }
}

impl Clock for AdjustedClock {
    fn now(&self) -> Timestamp {
        let ahead = SignedDuration::from_millis(self.ahead.load(Ordering::Relaxed));
        let now = self.own.now();
        now.saturating_add(ahead).unwrap_or(now)
    }

    fn passed(&self) -> Duration {
        self.own.passed()
    }

    fn adjust(&self, now: Timestamp) {
        if now.duration_since(self.now()).abs() > NOISE {
            let ahead = now.duration_since(self.own.now());
            self.ahead.store(ahead.as_millis() as i64, Ordering::Relaxed);
        }
    }
}

/// A clock that never goes back. When the underlying clock does, this one keeps running, slightly
/// slower, until the other has caught up. So leases that were granted before still end on time, and
/// not an hour late.
#[derive(Debug)]
pub struct SteadyClock {
    wall: Arc<dyn Clock>,
    shown: Mutex<Shown>,
}

#[derive(Clone, Copy, Debug)]
struct Shown {
    time: Timestamp,
    at: Duration,
}

/// While it waits for the wall clock it loses one part in this many. Leases tolerate that: workers
/// keep an eighth of each in reserve.
const SLOWER: i32 = 20;

impl SteadyClock {
    /// `latest` is the latest time known to have been shown before a restart.
    pub fn new(wall: Arc<dyn Clock>, latest: Option<Timestamp>) -> Self {
        let now = wall.now();
        if let Some(latest) = latest.filter(|latest| *latest > now) {
            let ahead = latest.duration_since(now);
            tracing::warn!(
                "the clock went back: the database knows a time that is {ahead:#} ahead; going on from there, slowly"
            );
        }
        let time = latest.map_or(now, |latest| latest.max(now));
        let shown = Shown { time, at: wall.passed() };
        Self { wall, shown: Mutex::new(shown) }
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let at = self.wall.passed();
        let elapsed =
            SignedDuration::try_from(at.saturating_sub(shown.at)).unwrap_or(SignedDuration::ZERO);
        let least = shown.time + (elapsed - elapsed / SLOWER);
        *shown = Shown { time: self.wall.now().max(least), at };
        let time = shown.time;
        time - time.subsec_nanosecond().rem_euclid(1_000_000).nanoseconds()
    }

    fn passed(&self) -> Duration {
        self.wall.passed()
    }

    fn adjust(&self, now: Timestamp) {
        self.wall.adjust(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wall clock that is set by hand, with a monotonic time beside it.
    #[derive(Debug, Default)]
    struct Set(Mutex<(Timestamp, Duration)>);

    impl Set {
        fn to(&self, second: i64) {
            self.0.lock().unwrap().0 = Timestamp::from_second(second).unwrap();
        }

        fn pass(&self, millis: u64) {
            self.0.lock().unwrap().1 += Duration::from_millis(millis);
        }
    }

    impl Clock for Set {
        fn now(&self) -> Timestamp {
            self.0.lock().unwrap().0
        }

        fn passed(&self) -> Duration {
            self.0.lock().unwrap().1
        }
    }

    fn clocks(latest: Option<i64>) -> (Arc<Set>, SteadyClock) {
        let wall = Arc::new(Set::default());
        wall.to(1_000);
        let latest = latest.map(|second| Timestamp::from_second(second).unwrap());
        (wall.clone(), SteadyClock::new(wall, latest))
    }

    #[test]
    fn a_clock_that_goes_right_is_shown_as_it_is() {
        let (wall, clock) = clocks(None);
        for second in [1_000, 1_010, 1_020, 90_000] {
            wall.to(second);
            assert_eq!(clock.now().as_second(), second);
            wall.pass(10_000);
        }
    }

    #[test]
    fn a_clock_that_is_put_back_is_waited_for_slowly() {
        let (wall, clock) = clocks(None);
        wall.to(500);
        assert_eq!(clock.now().as_second(), 1_000);
        wall.pass(100_000);
        wall.to(600);
        assert_eq!(clock.now().as_second(), 1_095);
        wall.to(1_096);
        assert_eq!(clock.now().as_second(), 1_096);
    }

    #[test]
    fn two_clocks_that_are_set_by_a_third_show_the_same() {
        for own in [500, 1_000, 90_000] {
            let wall = Arc::new(Set::default());
            wall.to(own);
            let clock = SteadyClock::new(Arc::new(AdjustedClock::new(wall.clone())), None);
            clock.adjust(Timestamp::from_second(100_000).unwrap());
            assert_eq!(clock.now().as_second(), 100_000);
            wall.to(own + 10);
            wall.pass(10_000);
            assert_eq!(clock.now().as_second(), 100_010);
        }
    }

    #[test]
    fn many_looks_do_not_make_it_faster_or_stop_it() {
        let (wall, clock) = clocks(None);
        wall.to(500);
        for _ in 0..10_000 {
            wall.pass(10);
            clock.now();
        }
        assert_eq!(clock.now().as_second(), 1_095);
    }

    #[test]
    fn after_a_restart_it_goes_on_from_what_was_written_down() {
        assert_eq!(clocks(Some(900)).1.now().as_second(), 1_000);
        assert_eq!(clocks(Some(4_600)).1.now().as_second(), 4_600);
    }
}
