//! Wakes the readers that wait for a change of a job or its log.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use orchestra_contracts::JobId;
use tokio::sync::watch;

use super::shared::{JobSnapshot, SharedReads};
use crate::store::{Store, StoreError};

/// Wakes the watchers of a job. Holds an entry for watched jobs only.
#[derive(Clone, Default)]
pub struct Hub(Arc<Mutex<HashMap<JobId, Entry>>>);

struct Entry {
    /// How often the job has changed.
    changes: watch::Sender<u64>,
    reads: Arc<SharedReads>,
    watchers: usize,
}

/// A subscription to the changes of one job, until it is dropped.
pub struct Watch {
    hub: Hub,
    id: JobId,
    changes: watch::Receiver<u64>,
    reads: Arc<SharedReads>,
    version: u64,
}

impl Hub {
    /// Wakes the watchers of a job: the job or its log has changed, and the change is stored.
    pub fn wake(&self, id: JobId) {
        if let Some(entry) = self.entries().get(&id) {
            entry.changes.send_modify(|version| *version += 1);
        }
    }

    /// Wakes all watchers: any job may have changed.
    pub fn wake_all(&self) {
        for entry in self.entries().values() {
            entry.changes.send_modify(|version| *version += 1);
        }
    }

    /// Subscribes to a job. Read the job only after that, and no change is missed.
    pub fn watch(&self, id: JobId) -> Watch {
        let mut entries = self.entries();
        let entry = entries.entry(id).or_insert_with(|| Entry {
            changes: watch::Sender::new(0),
            reads: Arc::default(),
            watchers: 0,
        });
        entry.watchers += 1;
        let changes = entry.changes.subscribe();
        let version = *changes.borrow();
        Watch { hub: self.clone(), id, changes, reads: entry.reads.clone(), version }
    }

    /// How many jobs are watched.
    pub fn watched(&self) -> usize {
        self.entries().len()
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<JobId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// Marks all changes so far as seen; call it before reading the job.
    pub fn seen(&mut self) {
        self.version = *self.changes.borrow_and_update();
    }

    /// The job, no older than the last [`Watch::seen`].
    pub(super) async fn job(&self, store: &dyn Store) -> Result<JobSnapshot, StoreError> {
        self.reads.job(store, self.id, self.version, || *self.changes.borrow()).await
    }

    /// The reads that the job's followers share.
    pub(super) fn reads(&self) -> &SharedReads {
        &self.reads
    }

    /// Waits for a change since [`Watch::seen`]; returns at once if there was one.
    pub async fn changed(&mut self) {
        // The sender lives as long as its watchers are counted.
        let _ = self.changes.changed().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut entries = self.hub.entries();
        if let Some(entry) = entries.get_mut(&self.id) {
            entry.watchers -= 1;
            if entry.watchers == 0 {
                entries.remove(&self.id);
            }
        }
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("watched", &self.watched()).finish()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watch").field(&self.id).finish()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn only_what_came_after_the_last_look_wakes() {
        let hub = Hub::default();
        let mut watch = hub.watch(JobId(1));
        assert!(watch.changed().now_or_never().is_none());
        hub.wake(JobId(1));
        watch.seen();
        assert!(watch.changed().now_or_never().is_none());
        hub.wake(JobId(2));
        hub.wake(JobId(1));
        assert!(watch.changed().now_or_never().is_some());
    }

    #[test]
    fn an_entry_goes_with_its_last_watcher() {
        let hub = Hub::default();
        let (first, second) = (hub.watch(JobId(1)), hub.watch(JobId(1)));
        drop(first);
        assert_eq!(hub.watched(), 1);
        drop(second);
        assert_eq!(hub.watched(), 0);
        hub.wake(JobId(1));
    }
}
