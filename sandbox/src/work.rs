//! The working folder before the command starts and after everything has ended: the files that come
//! with the job, the changes by the job, and its artifacts.
//!
//! All of this happens while no process of the job runs, so the end of a lease would have nothing
//! to kill. Each scan is bounded in time all the same.

use std::time::Duration;

use orchestra_sandbox::protocol::{Event, Run};

use crate::{
    artifacts,
    clock::Clock,
    folder::Folder,
    pattern::Patterns,
    snapshot::Snapshot,
    sys::{self, coarse_time},
};

/// The time limit of each scan of the whole folder, before and after. A handful of files takes a
/// fraction of a millisecond, ten thousand take some ten milliseconds.
const LOOK: Duration = Duration::from_millis(200);
/// The time limit of the search for artifacts, which nothing else finds.
const SEARCH: Duration = Duration::from_secs(2);

/// The clock for file times moves at least once in this time.
const TICK: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Work {
    root: Folder,
    changes: Option<(Snapshot, usize)>,
    artifacts: Option<(Patterns, u64)>,
}

impl Work {
    /// Starts in the folder that this process has entered, after the job's files are in place.
    pub(crate) fn begin(root: Folder, run: &Run, clock: &Clock) -> Self {
        let until = clock.now().saturating_add(LOOK);
        let changes = (run.change_limit > 0).then(|| {
            let before = Snapshot::take(&root, || clock.now() >= until);
            if run.files > 0 {
                wait_for_tick(clock);
            }
            (before, usize::try_from(run.change_limit).unwrap_or(usize::MAX))
        });
        let wanted = !run.artifacts.is_empty();
        let artifacts = wanted.then(|| (Patterns::of(&run.artifacts), run.artifact_limit));
        Self { root, changes, artifacts }
    }

    /// The events about the folder, once everything has ended.
    pub(crate) fn conclude(&self, clock: &Clock) -> impl Iterator<Item = Event> + use<> {
        let until = clock.now().saturating_add(LOOK);
        let changes = self.changes.as_ref().map(|(before, limit)| {
            let after = Snapshot::take(&self.root, || clock.now() >= until);
            Event::Changes(before.changes(&after, *limit))
        });
        let until = clock.now().saturating_add(SEARCH);
        let artifacts = self.artifacts.as_ref().map(|(patterns, limit)| {
            let over = || clock.now() >= until;
            Event::Artifacts(artifacts::find(&self.root, patterns, *limit, over))
        });
        changes.into_iter().chain(artifacts)
    }
}

/// Waits until file times move on. Otherwise a command that changes a file at once, but not its
/// length, would seem to have left it unchanged.
fn wait_for_tick(clock: &Clock) {
    let (begun, until) = (coarse_time().ok(), clock.now().saturating_add(TICK));
    while coarse_time().ok() == begun && clock.now() < until {
        // A failure only ends the wait early; the loop checks again.
        let _ = sys::poll([], Duration::from_millis(1));
    }
}
