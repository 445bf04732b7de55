//! The working folder and those below it, for a program that shares them with jobs which may
//! have put anything there: each step is one name in an open folder, and a link is no folder.
//! What is open stays below the working folder, for nothing can be moved to another mount.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use crate::sys::{self, Seen};

/// For the names of a folder, as they come from the kernel.
const BUFFER: usize = 16 << 10;

#[derive(Debug)]
pub(crate) struct Folder(File);

impl Folder {
    /// That of this process, and of its job.
    pub(crate) fn working() -> io::Result<Self> {
        Self::open(Path::new("."))
    }

    /// Of the rights to it, that of going through it is enough.
    fn open(path: &Path) -> io::Result<Self> {
        let how = libc::O_PATH | libc::O_DIRECTORY;
        OpenOptions::new().read(true).custom_flags(how).open(path).map(Self)
    }

    /// As [`Folder::working`], for tests.
    #[cfg(test)]
    pub(crate) fn at(path: &Path) -> Self {
        Self::open(path).unwrap()
    }

    /// The one that is called so in this one, for looking into it.
    pub(crate) fn inner(&self, name: &[u8]) -> io::Result<Self> {
        sys::open_folder_at(&self.0, name, false).map(Self)
    }

    /// The same one once more.
    pub(crate) fn again(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// For going through it, which takes fewer rights.
    pub(crate) fn passage(&self, name: &[u8]) -> io::Result<Self> {
        sys::open_folder_at(&self.0, name, true).map(Self)
    }

    /// The one at this path, which may be empty; `through` as in [`Folder::passage`].
    pub(crate) fn below(&self, path: &[u8], through: bool) -> io::Result<Self> {
        let mut folder = self.passage(b".")?;
        let mut names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).peekable();
        while let Some(name) = names.next() {
            let last = names.peek().is_none();
            folder = if last && !through { folder.inner(name)? } else { folder.passage(name)? };
        }
        if path.is_empty() && !through { self.inner(b".") } else { Ok(folder) }
    }

    /// What is called so in this one, and were it a link.
    pub(crate) fn look(&self, name: &[u8]) -> io::Result<Seen> {
        sys::look_at(&self.0, name)
    }

    /// All names in it, as long as `more` wants them; whether those were all.
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

    /// Its length, if it is a file and this process may read it.
    pub(crate) fn length_of_readable(&self, name: &[u8]) -> io::Result<u64> {
        let found = sys::open_file_at(&self.0, name)?.metadata()?;
        if found.is_file() { Ok(found.len()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    pub(crate) fn as_file(&self) -> &File {
        &self.0
    }
}

/// A path and a name in there.
pub(crate) fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}

/// What was there a moment ago, or was a folder, is not any more.
pub(crate) fn has_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
