//! The numbers of pending and held jobs of each queue, maintained instead of counted at each read.
//!
//! A SQLite file has one master, which counts once at the start and then updates the numbers with
//! each commit. Several masters on one PostgreSQL database maintain them in a table
//! (`postgres/job_count.rs`).

use std::{
    collections::BTreeMap,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use orchestra_contracts::JobStatus;

/// Of one queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) pending: i64,
    pub(super) held: i64,
}

impl Open {
    /// The number of those that are `status`; `None` for those that have ended.
    pub(super) fn of(&mut self, status: JobStatus) -> Option<&mut i64> {
        match status {
            JobStatus::Pending => Some(&mut self.pending),
            JobStatus::Assigned | JobStatus::Running => Some(&mut self.held),
            JobStatus::Completed | JobStatus::Failed | JobStatus::Cancelled => None,
        }
    }
}

/// By how much a transaction changes the numbers.
#[derive(Debug, Default)]
pub(super) struct Tally(BTreeMap<String, Open>);

impl Tally {
    /// Counts a job's change of status. `None` is its status before it was added and after it was
    /// deleted.
    pub(super) fn moved(&mut self, queue: &str, from: Option<JobStatus>, to: Option<JobStatus>) {
        for (status, by) in [(from, -1), (to, 1)] {
            let Some(status) = status.filter(|status| !status.is_final()) else { continue };
            // Almost always it is the same queue again.
            if !self.0.contains_key(queue) {
                self.0.insert(queue.to_owned(), Open::default());
            }
            let count = self.0.get_mut(queue).and_then(|open| open.of(status));
            *count.expect("it was put in, and has not ended") += by;
        }
    }

    pub(super) fn take(&mut self) -> Self {
        mem::take(self)
    }

    /// By how much which queues change, by name.
    pub(super) fn changes(self) -> impl Iterator<Item = (String, Open)> {
        self.0.into_iter().filter(|(_, open)| *open != Open::default())
    }
}

/// The numbers after the last commit.
#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<BTreeMap<String, Open>>);

impl Counts {
    pub(super) fn of(found: BTreeMap<String, Open>) -> Self {
        Self(Mutex::new(found))
    }

    /// Adds the changes of a committed transaction.
    pub(super) fn add(&self, tally: Tally) {
        let mut counts = self.counts();
        for (queue, change) in tally.changes() {
            let open = counts.entry(queue).or_default();
            open.pending += change.pending;
            open.held += change.held;
        }
        counts.retain(|_, open| *open != Open::default());
    }

    pub(super) fn all(&self) -> BTreeMap<String, Open> {
        self.counts().clone()
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<String, Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_counted_where_it_is() {
        let counts = Counts::default();
        let steps = [
            (None, Some(JobStatus::Pending), (1, 0)),
            (Some(JobStatus::Pending), Some(JobStatus::Assigned), (0, 1)),
            (Some(JobStatus::Assigned), Some(JobStatus::Running), (0, 1)),
            (Some(JobStatus::Running), Some(JobStatus::Pending), (1, 0)),
            (Some(JobStatus::Pending), None, (0, 0)),
            (None, Some(JobStatus::Pending), (1, 0)),
            (Some(JobStatus::Pending), Some(JobStatus::Cancelled), (0, 0)),
            (Some(JobStatus::Cancelled), None, (0, 0)),
        ];
        for (from, to, (pending, held)) in steps {
            let mut tally = Tally::default();
            tally.moved("q", from, to);
            counts.add(tally);
            let now = counts.all().get("q").copied().unwrap_or_default();
            assert_eq!(now, Open { pending, held }, "from {from:?} to {to:?}");
        }
        assert!(counts.all().is_empty(), "a queue without open jobs is forgotten");
    }
}
