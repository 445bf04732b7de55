//! Access to the working folder and the folders below it. Jobs share them and may have put anything
//! there, so every step opens one name in an open folder and follows no links. An open folder stays
//! below the working folder, because nothing can be moved to another mount.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use crate::sys::{self, Seen};

/// The size of the buffer for directory entries from the kernel.
const BUFFER: usize = 16 << 10;

#[derive(Debug)]
pub(crate) struct Folder(File);

impl Folder {
    /// The working folder of this process and of its job.
    pub(crate) fn working() -> io::Result<Self> {
        Self::open(Path::new("."))
    }

    /// Opens a folder; search permission is enough.
    fn open(path: &Path) -> io::Result<Self> {
        let how = libc::O_PATH | libc::O_DIRECTORY;
        OpenOptions::new().read(true).custom_flags(how).open(path).map(Self)
    }

    /// Like [`Folder::working`], for tests.
    #[cfg(test)]
    pub(crate) fn at(path: &Path) -> Self {
        Self::open(path).unwrap()
    }

    /// Opens the folder of this name for listing.
    pub(crate) fn inner(&self, name: &[u8]) -> io::Result<Self> {
        sys::open_folder_at(&self.0, name, false).map(Self)
    }

    /// A second handle to the same folder.
    pub(crate) fn again(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Opens the folder of this name for passing through, which needs fewer permissions.
    pub(crate) fn passage(&self, name: &[u8]) -> io::Result<Self> {
        sys::open_folder_at(&self.0, name, true).map(Self)
    }

    /// Opens the folder at this path, which may be empty; `through` as in [`Folder::passage`].
    pub(crate) fn below(&self, path: &[u8], through: bool) -> io::Result<Self> {
        let mut folder = self.passage(b".")?;
        let mut names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).peekable();
        while let Some(name) = names.next() {
            let last = names.peek().is_none();
            folder = if last && !through { folder.inner(name)? } else { folder.passage(name)? };
        }
        if path.is_empty() && !through { self.inner(b".") } else { Ok(folder) }
    }

    /// The metadata of this name; of the link itself if it is one.
    pub(crate) fn look(&self, name: &[u8]) -> io::Result<Seen> {
        sys::look_at(&self.0, name)
    }

    /// Calls `more` with each name until it returns `false`; returns whether all names were seen.
    pub(crate) fn names(&self, mut more: impl FnMut(&[u8]) -> bool) -> io::Result<bool> {
        let mut buffer = vec![0; BUFFER];
        let mut wanted = true;
        loop {
            let any = sys::names_of(&self.0, &mut buffer, |name| wanted = wanted && more(name))?;
            if !wanted || !any {
                return Ok(wanted);
            }
        }
    }

    /// The length, if it is a regular file that this process may read.
    pub(crate) fn length_of_readable(&self, name: &[u8]) -> io::Result<u64> {
        let found = sys::open_file_at(&self.0, name)?.metadata()?;
        if found.is_file() { Ok(found.len()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    pub(crate) fn as_file(&self) -> &File {
        &self.0
    }
}

/// Joins a path and a name.
pub(crate) fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}

/// Whether the error means that something is gone, or is no folder any more.
pub(crate) fn has_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
