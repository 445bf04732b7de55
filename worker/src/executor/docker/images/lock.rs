//! One builder at a time per machine, across worker processes and containers. They share the images
//! folder, so they can lock it.
//!
//! The lock only saves work and protects nothing: two builds of one image end with one image. A
//! file system without locks is therefore no error.

use std::{fs::File, io, path::Path, time::Duration};

use rustix::fs::{FlockOperation, flock};

/// The kernel does not report that a lock becomes free, so it is tried again at this interval.
const AGAIN: Duration = Duration::from_millis(200);

/// The lock. It is released when this is dropped, or when the process dies.
#[derive(Debug)]
pub(super) struct Alone {
    _folder: Option<File>,
}

/// Waits until nobody else holds the lock of `folder`, and calls `waiting` after each failed try.
/// Writes nothing.
pub(super) async fn alone(folder: &Path, waiting: impl Fn()) -> Alone {
    let Ok(file) = File::open(folder) else { return Alone { _folder: None } };
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(io::Error::from) {
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => waiting(),
            _ => return Alone { _folder: Some(file) },
        }
        tokio::time::sleep(AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn the_second_waits_for_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let first = alone(folder.path(), || unreachable!()).await;
        let waited = AtomicBool::new(false);
        let mut first = Some(first);
        let mut second =
            std::pin::pin!(alone(folder.path(), || waited.store(true, Ordering::Relaxed)));
        assert!(futures::poll!(&mut second).is_pending());
        assert!(waited.load(Ordering::Relaxed));
        drop(first.take());
        second.await;
    }
}
