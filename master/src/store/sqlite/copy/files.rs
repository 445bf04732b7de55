//! The files of backups: their permissions and owner, and that none is left incomplete.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, chown},
    path::{Path, PathBuf},
};

use crate::store::sqlite::lock::beside;

/// A temporary file, removed unless it was renamed.
pub(super) struct Leftover(pub(super) PathBuf);

impl Leftover {
    pub(super) fn remove(&self) {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let _ = fs::remove_file(beside(&self.0, suffix));
        }
    }
}

impl Drop for Leftover {
    fn drop(&mut self) {
        self.remove();
    }
}

/// For its owner alone: jobs are in it, and what they printed.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// To whoever owns the other: a master that is not root's has to open what root restored. Who may
/// not give files away keeps them.
pub(super) fn give(file: &Path, owner: &Path) -> io::Result<()> {
    let (file_now, owner) = (fs::metadata(file)?, fs::metadata(owner)?);
    if (file_now.uid(), file_now.gid()) == (owner.uid(), owner.gid()) {
        return Ok(());
    }
    match chown(file, Some(owner.uid()), Some(owner.gid())) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        given => given,
    }
}

pub(super) fn is_same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

pub(super) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

pub(super) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
