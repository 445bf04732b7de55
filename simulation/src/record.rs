//! The history for the checker, and a trace in order of time that proves that a run is determined
//! by its seed.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use orchestra_tests::check::{History, What};
use tokio::time::Instant;

/// Keeps the history of one run.
#[derive(Debug)]
pub struct Record {
    start: Instant,
    state: Mutex<State>,
    /// Whether the trace's lines are kept for printing.
    keeps_lines: bool,
}

#[derive(Debug, Default)]
struct State {
    history: History,
    trace: DefaultHasher,
    lines: Vec<String>,
    answers: u64,
    faults: u64,
    along: Along,
}

/// What was sent together with reports of ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Along {
    /// Reports that carried the last frames of their log.
    pub rests: u64,
    pub claims: u64,
}

impl Record {
    pub fn new(start: Instant, keeps_lines: bool) -> Self {
        Self { start, state: Mutex::default(), keeps_lines }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// The virtual time of an instant of this run.
    pub fn time_of(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.start)
    }

    /// Records an event that the checker judges.
    pub fn note(&self, what: What) {
        self.line(format_args!("{what:?}"));
        let mut state = self.state();
        state.faults += u64::from(matches!(what, What::Fault { .. }));
        let now = self.now();
        state.history.record(now, what);
    }

    /// Records a line that only the trace shows.
    pub fn line(&self, line: fmt::Arguments<'_>) {
        let line = format!("{:>11.6} {line}", self.now().as_secs_f64());
        let mut state = self.state();
        line.hash(&mut state.trace);
        if self.keeps_lines {
            state.lines.push(line);
        }
    }

    /// Counts one inspected answer of the master.
    pub fn answered(&self) {
        self.state().answers += 1;
    }

    pub fn rest_with_end(&self) {
        self.state().along.rests += 1;
    }

    pub fn claims_with_ends(&self, count: usize) {
        self.state().along.claims += count as u64;
    }

    pub fn along(&self) -> Along {
        self.state().along
    }

    /// How many faults were injected so far.
    pub fn faults(&self) -> u64 {
        self.state().faults
    }

    /// Returns the history, the trace's hash and its lines, at the end of the run.
    pub fn finish(&self) -> (History, u64, Vec<String>) {
        let mut state = self.state();
        let count = state.answers;
        let now = self.now();
        state.history.record(now, What::Answers { count });
        (std::mem::take(&mut state.history), state.trace.finish(), std::mem::take(&mut state.lines))
    }
}
