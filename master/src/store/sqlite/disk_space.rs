//! Free space on the database's disk. Below a threshold no new work is accepted, so that running jobs
//! can end properly. When the disk is full all the same, a reserve file is deleted for them:
//! without free space SQLite cannot even delete.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    mem,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use orchestra_contracts::Size;
use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::lock::beside;
use crate::store::StoreError;

/// Takes the ends of some dozens of attempts, with their last output.
const RESERVE: u64 = 32 << 20;
/// On a small disk the reserve is this part of what is free.
const SMALL_DISK: u64 = 4;
/// Of the reserve, one attempt's output gets this part: an attempt that has
/// ended has little left to say, and one that goes on can wait.
const SHARES: u64 = 16;
/// A database cannot even be opened with less.
const TO_OPEN: u64 = 1 << 20;
/// How often the free space is checked again.
const PAUSE: Duration = Duration::from_secs(1);

/// The disk of one database.
#[derive(Debug)]
pub(super) struct DiskSpace {
    folder: PathBuf,
    reserve: PathBuf,
    min_free: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The size of the reserve, while it is there or was given up.
    reserve: u64,
    /// The reserve was given up, and could not be taken back yet.
    full: bool,
    /// The last word about it in the log.
    told: bool,
    looked: Option<Instant>,
}

impl DiskSpace {
    /// A reserve that an earlier master left is given up when nothing else would
    /// let the database be opened.
    pub(super) fn of(database: &Path, min_free: Size) -> Self {
        let folder = database.parent().filter(|folder| !folder.as_os_str().is_empty());
        let disk_space = Self {
            folder: folder.unwrap_or(Path::new(".")).to_owned(),
            reserve: beside(database, ".reserve"),
            min_free: min_free.0,
            state: Mutex::default(),
        };
        let kept = fs::metadata(&disk_space.reserve).map_or(0, |metadata| metadata.len());
        disk_space.state().reserve = kept;
        if kept > 0 && disk_space.free() < TO_OPEN {
            disk_space.give_up();
        }
        disk_space
    }

    /// Takes a reserve from the disk, unless there is one.
    pub(super) fn reserve(&self) {
        let mut state = self.state();
        if state.full || state.reserve > 0 {
            return;
        }
        let size = RESERVE.min(self.free() / SMALL_DISK);
        match self.take(size) {
            Ok(()) => state.reserve = size,
            Err(error) => tracing::warn!(%error, "no reserve for a full disk can be kept"),
        }
    }

    /// Whether new work can be taken.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let mut state = self.state();
        let free = self.free();
        let due = state.looked.is_none_or(|looked| looked.elapsed() >= PAUSE);
        if state.full && due {
            state.looked = Some(Instant::now());
            // What was given up comes first, and as much again is left.
            if free / 2 >= state.reserve && self.take(state.reserve).is_ok() {
                state.full = false;
            }
        }
        let refusal = if state.full {
            Some("it is full".to_owned())
        } else if free < self.min_free {
            let (free, least) = (Size(free >> 20 << 20), Size(self.min_free));
            Some(format!("only {free} are free, less than ORCHESTRA_MIN_FREE ({least})"))
        } else {
            None
        };
        let Some(reason) = refusal else {
            if mem::take(&mut state.told) {
                tracing::info!("there is room again: jobs are taken and handed out");
            }
            return Ok(());
        };
        if !mem::replace(&mut state.told, true) {
            tracing::warn!("no new jobs are taken or handed out: {reason}; make room");
        }
        Err(StoreError::NoRoom { reason })
    }

    /// Gives up the reserve, for what cannot wait; false when that was done before.
    pub(super) fn give_up(&self) -> bool {
        let mut state = self.state();
        if state.full {
            return false;
        }
        state.full = true;
        state.looked = Some(Instant::now());
        if let Err(error) = fs::remove_file(&self.reserve)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!(%error, "the reserve cannot be given up");
        }
        true
    }

    /// Whether the reserve was given up.
    pub(super) fn is_full(&self) -> bool {
        self.state().full
    }

    /// So many bytes of output may each attempt add to a full disk.
    pub(super) fn share(&self) -> u64 {
        self.state().reserve / SHARES
    }

    /// What the file system has for ordinary users; plenty where it does not say.
    fn free(&self) -> u64 {
        statvfs(&self.folder).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Written or not at all: a sparse file would keep nothing free.
    fn take(&self, size: u64) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let file =
            options.write(true).create(true).truncate(true).mode(0o600).open(&self.reserve)?;
        let taken = match fallocate(&file, FallocateFlags::empty(), 0, size.max(1)) {
            Err(rustix::io::Errno::OPNOTSUPP) => fill(file, size),
            other => other.map_err(io::Error::from),
        };
        if taken.is_err() {
            let _ = fs::remove_file(&self.reserve);
        }
        taken
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fill(mut file: File, mut size: u64) -> io::Result<()> {
    let piece = vec![0; 1 << 20];
    while size > 0 {
        let length = size.min(piece.len() as u64);
        file.write_all(&piece[..length as usize])?;
        size -= length;
    }
    file.sync_all()
}
