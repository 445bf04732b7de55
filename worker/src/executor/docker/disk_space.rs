//! Free space on the disk of worker-files. Below a threshold no job is started, so that running
//! jobs can end, and people can log in and tidy up.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use orchestra_contracts::Size;
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{Instant, sleep},
};

use super::engine::Health;
use crate::executor::Trouble;

const EVERY: Duration = Duration::from_secs(2);

/// The result of the last check. Clones share it.
#[derive(Clone)]
pub(super) struct DiskSpace {
    folder: PathBuf,
    min_free: Size,
    trouble: Arc<watch::Sender<Option<Trouble>>>,
}

impl DiskSpace {
    pub(super) fn new(folder: PathBuf, min_free: Size) -> Self {
        Self { folder, min_free, trouble: Arc::new(watch::Sender::new(None)) }
    }

    /// Checks at intervals until this future is dropped.
    pub(super) async fn watch(&self) {
        loop {
            self.look().await;
            sleep(EVERY).await;
        }
    }

    /// Checks now, and answers whether there is enough space.
    pub(super) async fn look(&self) -> bool {
        if self.min_free == Size(0) {
            return true;
        }
        let folder = self.folder.clone();
        // On a blocking thread, because the disk may hang.
        let found = spawn_blocking(move || free(folder)).await;
        let reason = match found.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(free) if free >= self.min_free.0 => None,
            Ok(_) => Some(format!(
                "less than {} is free for worker-files; make room on its disk",
                self.min_free
            )),
            Err(error) => Some(format!("worker-files cannot be looked at: {error}")),
        };
        let well = reason.is_none();
        self.note(reason);
        well
    }

    /// Whether the last check found too little space.
    pub(super) fn is_short(&self) -> bool {
        self.trouble.borrow().is_some()
    }

    fn note(&self, reason: Option<String>) {
        self.trouble.send_if_modified(|trouble| match (&trouble, reason) {
            (None, Some(reason)) => {
                tracing::warn!("no jobs are claimed for now: {reason}");
                *trouble = Some(Trouble { since: Instant::now(), reason });
                true
            }
            (Some(Trouble { since, .. }), None) => {
                tracing::info!("worker-files has room again after {:.0?}", since.elapsed());
                *trouble = None;
                true
            }
            (None, None) | (Some(_), Some(_)) => false,
        });
    }

    /// Publishes whatever keeps jobs from starting, engine or disk, until this future is dropped.
    pub(super) async fn tell(&self, engine: &Health, all: &watch::Sender<Option<Trouble>>) {
        let (mut engine, mut room) = (engine.subscribe(), self.trouble.subscribe());
        loop {
            let trouble = engine.borrow_and_update().clone();
            let trouble = trouble.or(room.borrow_and_update().clone());
            all.send_if_modified(|told| {
                let changed = *told != trouble;
                *told = trouble;
                changed
            });
            tokio::select! {
                biased;
                Ok(()) = engine.changed() => (),
                Ok(()) = room.changed() => (),
                else => return,
            }
        }
    }
}

/// Bytes that are free for unprivileged users.
fn free(folder: PathBuf) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_without_room_and_one_that_is_gone_are_told_of() {
        let home = tempfile::tempdir().unwrap();
        let (engine, all) = (Health::new(), watch::Sender::new(None));
        let mut told = all.subscribe();
        let full = DiskSpace::new(home.path().to_owned(), Size(u64::MAX));
        assert!(!full.look().await);
        tokio::select! {
            () = full.tell(&engine, &all) => unreachable!("it ends with what it tells of"),
            seen = told.wait_for(Option::is_some) => {
                let reason = seen.unwrap().clone().unwrap().reason;
                assert!(reason.contains("free for worker-files"), "{reason}");
            }
        }
        assert!(DiskSpace::new(home.path().to_owned(), Size(1)).look().await);
        assert!(DiskSpace::new("/no/such/folder".into(), Size(0)).look().await, "there is no mark");
        let gone = DiskSpace::new("/no/such/folder".into(), Size(1));
        assert!(!gone.look().await);
        assert!(gone.trouble.borrow().as_ref().unwrap().reason.contains("cannot be looked at"));
    }
}
