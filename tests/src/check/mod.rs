//! The checker: given what an observer recorded and the master's final state, it tells which of
//! the invariants I1 to I12 were broken.
//!
//! [`check`] is pure. It judges only what was recorded, and counts for each invariant how many
//! things it had to judge, so that an empty history does not pass as a good one
//! ([`Judgement::unjudged`]).
//!
//! * [`History`] is what happened, by one clock; [`End`] is the final state.
//! * Each file holds one invariant, or a few that examine the same events.

mod answers;
mod content;
mod end;
mod fence;
mod history;
mod honest;
mod index;
mod log;
mod loss;
mod micros;
mod overlap;
mod residue;
mod retries;
#[cfg(test)]
mod testing;
mod winner;

use std::{collections::BTreeMap, fmt, time::Duration};

use orchestra_contracts::JobId;
use serde::{Deserialize, Serialize};

use index::Index;

pub use content::{Content, Piece, Text};
pub use end::{End, JobEnd};
pub use history::{Event, History, JobPlan, Phase, REQUEST_LABEL, What, Wish};
pub use overlap::longest_overlap;

/// What must always hold. [`Invariant::sentence`] states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Invariant {
    I1,
    I2,
    I3,
    I4,
    I5,
    I6,
    I7,
    I8,
    I9,
    I10,
    I11,
    I12,
}

impl Invariant {
    pub const ALL: [Self; 12] = [
        Self::I1,
        Self::I2,
        Self::I3,
        Self::I4,
        Self::I5,
        Self::I6,
        Self::I7,
        Self::I8,
        Self::I9,
        Self::I10,
        Self::I11,
        Self::I12,
    ];

    pub fn sentence(self) -> &'static str {
        match self {
            Self::I1 => "every job that was answered with 201 ends",
            Self::I2 => "nothing exists that nobody submitted, and nothing twice",
            Self::I3 => "one result an attempt, one end a job, attempts 1, 2, 3 without a hole",
            Self::I4 => "a write with an old lease changes nothing",
            Self::I5 => "two attempts of a job never run at once, none outlives its lease",
            Self::I6 => "the log is what the command wrote, and gaps say what is missing",
            Self::I7 => "nothing is left behind",
            Self::I8 => "memory and disk stay below their bounds",
            Self::I9 => "every failure says its cause, and the true one",
            Self::I10 => "no answer is a 5xx but 503 with Retry-After, nothing panics",
            Self::I11 => "retries are paid from the right budget, and no more than it holds",
            Self::I12 => "when the faults are over, all jobs end in time",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The bounds used by the invariants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// I5: how long two containers of one job may seem to overlap, to allow for the observer's own
    /// delay.
    pub overlap: Duration,
    /// I5: how long after the end of its lease a container may still be seen.
    pub outlive: Duration,
    /// I12: how long a job may take once all faults are over.
    pub settle: Duration,
    /// I8: resident memory of one program, in bytes.
    pub memory: u64,
    /// I7: by how many percent a program's memory may have grown at the end.
    pub growth_percent: u64,
    /// I7: growth in bytes that is always allowed, since small programs vary more in percent.
    pub growth_bytes: u64,
    /// I7: growth allowed in file descriptors, and likewise in threads.
    pub growth_handles: u64,
    /// I11: how many retries after infrastructure failures a job gets.
    pub infra_budget: u32,
    /// I11: after this many lost attempts a job counts as poison.
    pub poison_after: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            overlap: Duration::ZERO,
            outlive: Duration::from_secs(2),
            settle: Duration::from_mins(3),
            memory: 512 * 1024 * 1024,
            growth_percent: 5,
            growth_bytes: 8 * 1024 * 1024,
            growth_handles: 8,
            infra_budget: 5,
            poison_after: 3,
        }
    }
}

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    pub invariant: Invariant,
    /// The job concerned, if any.
    pub job: Option<JobId>,
    pub sentence: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.job {
            Some(job) => write!(f, "{} job {job}: {}", self.invariant, self.sentence),
            None => write!(f, "{}: {}", self.invariant, self.sentence),
        }
    }
}

/// The result of [`check`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    pub violations: Vec<Violation>,
    /// How many things were judged for each invariant.
    judged: BTreeMap<Invariant, u64>,
}

impl Judgement {
    /// The invariants for which the history holds nothing to judge.
    pub fn unjudged(&self) -> Vec<Invariant> {
        Invariant::ALL.into_iter().filter(|it| self.judged(*it) == 0).collect()
    }

    pub fn judged(&self, invariant: Invariant) -> u64 {
        self.judged.get(&invariant).copied().unwrap_or_default()
    }

    /// Asserts that nothing is violated and that everything wanted was judged.
    ///
    /// # Panics
    /// When an invariant is violated, or when one of `wanted` had nothing to judge.
    pub fn assert_good(&self, wanted: &[Invariant]) {
        assert!(self.violations.is_empty(), "{self}");
        for invariant in wanted {
            assert!(self.judged(*invariant) > 0, "nothing to judge {invariant} by: {self}");
        }
    }

    fn looked(&mut self, invariant: Invariant, things: usize) {
        *self.judged.entry(invariant).or_default() += things as u64;
    }

    fn broken(&mut self, invariant: Invariant, job: impl Into<Option<JobId>>, sentence: String) {
        self.violations.push(Violation { invariant, job: job.into(), sentence });
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for invariant in Invariant::ALL {
            let broken = self.violations.iter().filter(|it| it.invariant == invariant).count();
            let word = match (broken, self.judged(invariant)) {
                (0, 0) => "unjudged".to_owned(),
                (0, things) => format!("holds ({things} judged)"),
                (broken, things) => format!("BROKEN {broken} times ({things} judged)"),
            };
            writeln!(f, "{invariant:>4} {word}: {}", invariant.sentence())?;
        }
        self.violations.iter().try_for_each(|violation| writeln!(f, "{violation}"))
    }
}

/// Judges a history together with its final state.
pub fn check(history: &History, end: &End, limits: &Limits) -> Judgement {
    let history = &Index::of_all(history, end);
    let mut judgement = Judgement::default();
    loss::check(history, end, limits, &mut judgement);
    winner::check(history, end, &mut judgement);
    fence::check(history, end, &mut judgement);
    overlap::check(history, end, limits, &mut judgement);
    log::check(history, end, &mut judgement);
    residue::check(history, end, limits, &mut judgement);
    honest::check(history, end, &mut judgement);
    answers::check(history, &mut judgement);
    retries::check(history, end, limits, &mut judgement);
    judgement
}
