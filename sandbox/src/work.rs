//! The working folder before the command begins and after everything has ended: the files
//! that come with the job, what the job changed, what it leaves to be kept.
//!
//! All of it happens while no process of the job runs, so there is nothing that a lease's end
//! would have to kill; each look is bounded in time all the same.

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

/// For a look at all of the folder, before and after. A handful of files takes a fraction of a
/// millisecond, ten thousand some ten.
const LOOK: Duration = Duration::from_millis(200);
/// For the wanted files, which nobody finds otherwise.
const SEARCH: Duration = Duration::from_secs(2);

/// The clock of files moves at least once in so long.
const TICK: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Work {
    root: Folder,
    changes: Option<(Snapshot, usize)>,
    artifacts: Option<(Patterns, u64)>,
}

impl Work {
    /// In the folder that this process has entered, with the files that came with the job.
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

    /// What there is to say of it when everything has ended.
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

/// What is written from now on has another time than what was written before. Else a command
/// that changes a file at once, and not its length, would seem to have left it alone.
fn wait_for_tick(clock: &Clock) {
    let (begun, until) = (coarse_time().ok(), clock.now().saturating_add(TICK));
    while coarse_time().ok() == begun && clock.now() < until {
        // It only ends early, and then it is asked again.
        let _ = sys::poll([], Duration::from_millis(1));
    }
}
