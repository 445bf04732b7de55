//! When and why a job is made to end. Pure: times go in, steps come out.
//!
//! ```text
//!          timeout, Terminate             grace is over, Kill
//! free ------------------------> asked ------------------------> killed
//!   |                              |                                ^
//!   +------- Kill, lease is over --+--------------------------------+
//! ```
//! The first reason counts; later ones only speed things up.

use std::time::Duration;

use orchestra_sandbox::protocol::{Killed, Run};

#[derive(Debug)]
pub(crate) struct Ladder {
    rung: Rung,
    reason: Option<Killed>,
    lease: Duration,
    ends: Duration,
    timeout: Duration,
    grace: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rung {
    Free,
    /// SIGTERM was sent; SIGKILL follows at this time.
    Asked {
        kill: Duration,
    },
    Killed,
}

/// What to do now, with a line for the job's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Terminate(String),
    Kill(String),
}

impl Ladder {
    /// `lease` is the end of the job's lease; the timeout counts from `started`, the start of the
    /// shell.
    pub(crate) fn new(run: &Run, lease: Duration, started: Duration) -> Self {
        Self {
            rung: Rung::Free,
            reason: None,
            lease,
            ends: started.saturating_add(run.timeout),
            timeout: run.timeout,
            grace: run.grace,
        }
    }

    /// Sets the end of the lease. `bound` means that the worker gave the end itself and not only a
    /// duration from now; then a renewal that arrives late and out of order does not shorten the
    /// lease.
    pub(crate) fn renew(&mut self, end: Duration, bound: bool) {
        self.lease = if bound { self.lease.max(end) } else { end };
    }

    pub(crate) fn lease(&self) -> Duration {
        self.lease
    }

    /// Why the job was made to end, if it was.
    pub(crate) fn reason(&self) -> Option<Killed> {
        self.reason
    }

    /// Whether the processes were asked to end and their grace time is not over.
    pub(crate) fn in_grace(&self) -> bool {
        matches!(self.rung, Rung::Asked { .. })
    }

    /// When [`Ladder::due`] next has something to do, unless something else happens before.
    pub(crate) fn next(&self) -> Duration {
        match self.rung {
            Rung::Free => self.lease.min(self.ends),
            Rung::Asked { kill } => self.lease.min(kill),
            Rung::Killed => Duration::MAX,
        }
    }

    /// The step that is due at this time, if any.
    pub(crate) fn due(&mut self, now: Duration) -> Option<Step> {
        if now < self.next() {
            return None;
        }
        if now >= self.lease {
            return self.fall(Killed::LeaseExpired, "no word from the worker, the lease is over");
        }
        if self.in_grace() {
            return self.fall(Killed::Asked, "the grace time is over");
        }
        let why = format!("timed out after {:?}", self.timeout);
        self.ask(Killed::TimedOut, &why, now, self.grace)
    }

    pub(crate) fn terminate(&mut self, now: Duration, grace: Duration) -> Option<Step> {
        self.ask(Killed::Asked, "asked to end", now, grace)
    }

    pub(crate) fn kill(&mut self) -> Option<Step> {
        self.fall(Killed::Asked, "asked to end at once")
    }

    /// For a worker that sends invalid messages. This sets no reason, because the job is not at
    /// fault.
    pub(crate) fn give_up(&mut self, why: &str) -> Option<Step> {
        let reason = self.reason;
        let step = self.fall(Killed::Asked, why);
        self.reason = reason;
        step
    }

    /// The shell has ended: nothing that follows can be the reason.
    pub(crate) fn close(&mut self) {
        self.rung = Rung::Killed;
    }

    fn ask(&mut self, reason: Killed, why: &str, now: Duration, grace: Duration) -> Option<Step> {
        let kill = now.saturating_add(grace);
        match &mut self.rung {
            Rung::Free => {
                self.rung = Rung::Asked { kill };
                self.reason = Some(reason);
                Some(Step::Terminate(format!(
                    "{why}: sent SIGTERM, SIGKILL follows after {grace:?}"
                )))
            }
            Rung::Asked { kill: earlier } => {
                *earlier = kill.min(*earlier);
                None
            }
            Rung::Killed => None,
        }
    }

    fn fall(&mut self, reason: Killed, why: &str) -> Option<Step> {
        if self.rung == Rung::Killed {
            return None;
        }
        self.rung = Rung::Killed;
        self.reason.get_or_insert(reason);
        Some(Step::Kill(format!("{why}: sent SIGKILL")))
    }
}

#[cfg(test)]
mod tests {
    use orchestra_sandbox::protocol::{Attempt, Lease};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Starts at 10 s, times out at 20 s with a grace of 5 s, and its lease ends at 40 s.
    fn ladder() -> Ladder {
        let run = Run {
            attempt: Attempt { job: 1, number: 1 },
            script: vec![],
            env: vec![],
            workdir: vec![],
            stdin: vec![],
            timeout: 10 * SECOND,
            grace: 5 * SECOND,
            lease: Lease::of(30 * SECOND),
            log_head: 0,
            log_tail: 0,
            umask: 0,
            files: 0,
            masks: vec![],
            change_limit: 0,
            artifact_limit: 0,
            artifacts: vec![],
        };
        Ladder::new(&run, 40 * SECOND, 10 * SECOND)
    }

    fn terminate(text: &str) -> Step {
        Step::Terminate(text.to_owned())
    }

    fn kill(text: &str) -> Step {
        Step::Kill(text.to_owned())
    }

    #[test]
    fn a_timeout_asks_and_then_kills() {
        let mut ladder = ladder();
        assert_eq!(ladder.next(), 20 * SECOND);
        assert_eq!(ladder.due(19 * SECOND), None);
        assert_eq!(
            ladder.due(20 * SECOND),
            Some(terminate("timed out after 10s: sent SIGTERM, SIGKILL follows after 5s"))
        );
        assert!(ladder.in_grace());
        assert_eq!(ladder.due(24 * SECOND), None);
        assert_eq!(ladder.due(25 * SECOND), Some(kill("the grace time is over: sent SIGKILL")));
        assert_eq!((ladder.reason(), ladder.in_grace()), (Some(Killed::TimedOut), false));
        assert_eq!((ladder.next(), ladder.due(99 * SECOND)), (Duration::MAX, None));
    }

    #[test]
    fn the_end_of_the_lease_kills_at_once_and_renewing_puts_it_off() {
        let mut ladder = ladder();
        ladder.renew(14 * SECOND, false);
        assert_eq!(ladder.next(), 14 * SECOND);
        ladder.renew(15 * SECOND, true);
        // This renewal arrives out of order.
        ladder.renew(13 * SECOND, true);
        assert_eq!(ladder.due(14 * SECOND), None);
        let step = ladder.due(15 * SECOND);
        assert_eq!(step, Some(kill("no word from the worker, the lease is over: sent SIGKILL")));
        assert_eq!(ladder.reason(), Some(Killed::LeaseExpired));
    }

    #[test]
    fn the_first_reason_counts_and_the_shortest_grace() {
        let mut ladder = ladder();
        ladder.due(20 * SECOND);
        assert_eq!(ladder.terminate(21 * SECOND, SECOND), None);
        assert_eq!(ladder.next(), 22 * SECOND);
        assert_eq!(ladder.terminate(21 * SECOND, 60 * SECOND), None);
        assert_eq!(ladder.next(), 22 * SECOND);
        assert_eq!(ladder.kill(), Some(kill("asked to end at once: sent SIGKILL")));
        assert_eq!((ladder.kill(), ladder.terminate(22 * SECOND, SECOND)), (None, None));
        assert_eq!(ladder.reason(), Some(Killed::TimedOut));
    }

    #[test]
    fn the_lease_can_end_within_the_grace_time() {
        let mut ladder = ladder();
        ladder.terminate(11 * SECOND, 60 * SECOND);
        assert_eq!(ladder.next(), 40 * SECOND);
        assert!(matches!(ladder.due(40 * SECOND), Some(Step::Kill(_))));
        assert_eq!(ladder.reason(), Some(Killed::Asked));
    }

    #[test]
    fn giving_up_is_no_reason_of_the_jobs() {
        let mut ladder = ladder();
        assert_eq!(ladder.give_up("nonsense"), Some(kill("nonsense: sent SIGKILL")));
        assert_eq!(ladder.reason(), None);
    }

    #[test]
    fn what_comes_after_the_end_is_no_reason() {
        let mut ladder = ladder();
        ladder.close();
        assert_eq!((ladder.terminate(11 * SECOND, SECOND), ladder.due(99 * SECOND)), (None, None));
        assert_eq!((ladder.kill(), ladder.reason()), (None, None));
    }

    #[test]
    fn times_without_end_do_not_overflow() {
        let mut ladder = ladder();
        ladder.renew(Duration::MAX, false);
        ladder.terminate(SECOND, Duration::MAX);
        assert_eq!(ladder.next(), Duration::MAX);
    }
}
