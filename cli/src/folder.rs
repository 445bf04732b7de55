//! A folder that files are fetched into. What they are called is other people's data: nothing is
//! written outside of the folder, no link in it is followed, and what is there already stays
//! unless it may be replaced.

use std::{
    fs::File,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use orchestra_contracts::files::is_path;
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RenameFlags, fchmod, mkdirat, openat, renameat, renameat_with,
    statat, unlinkat,
};
use rustix::io::Errno;

use crate::failure::Failure;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    handle: OwnedFd,
    replace: bool,
}

/// A file that is not there under its name yet.
#[derive(Debug)]
pub(crate) struct Begun {
    folder: OwnedFd,
    name: String,
    temporary: String,
    replace: bool,
    kept: bool,
    /// As people know it.
    shown: PathBuf,
}

impl Folder {
    /// Makes it where it is not there. The folder itself may be a link: it was named by who asks.
    pub(crate) fn open(path: &Path, replace: bool) -> Result<Self, Failure> {
        let refuse = |reason: io::Error| {
            Failure::said(format!("the folder {} cannot be used: {reason}", path.display()))
        };
        std::fs::create_dir_all(path).map_err(refuse)?;
        let handle =
            openat(CWD, path, FOLDER, Mode::empty()).map_err(|error| refuse(error.into()))?;
        Ok(Self { path: path.to_owned(), handle, replace })
    }

    /// Begins a file at a path below the folder; makes the folders on the way to it.
    pub(crate) fn begin(&self, path: &str, executable: bool) -> Result<(Begun, File), Failure> {
        let shown = self.path.join(path);
        let refuse = |reason: &dyn std::fmt::Display| {
            Failure::said(format!("{} cannot be written: {reason}", shown.display()))
        };
        if !is_path(path) {
            return Err(refuse(&"its path leads elsewhere"));
        }
        let (way, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folder = self.walk(way).map_err(|error| match error {
            Errno::LOOP | Errno::NOTDIR => refuse(&"a link or a file stands in the way"),
            error => refuse(&error),
        })?;
        let there = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        if there && !self.replace {
            return Err(refuse(&EXISTS));
        }
        let temporary = format!(".orchestra-{}-{:x}", std::process::id(), unique());
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&folder, &temporary, flags, Mode::from_raw_mode(0o666));
        let file = file.map_err(|error| refuse(&error))?;
        let begun = Begun {
            folder,
            name: name.to_owned(),
            temporary,
            replace: self.replace,
            kept: false,
            shown: shown.clone(),
        };
        if executable {
            make_executable(&file).map_err(|error| refuse(&error))?;
        }
        Ok((begun, File::from(file)))
    }

    fn walk(&self, way: &str) -> Result<OwnedFd, Errno> {
        let mut folder = openat(&self.handle, ".", FOLDER, Mode::empty())?;
        for name in way.split('/').filter(|name| !name.is_empty()) {
            match mkdirat(&folder, name, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
            folder = openat(&folder, name, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
        }
        Ok(folder)
    }
}

const EXISTS: &str = "it is there already; --force replaces it";

/// Where it may be read, it may be run.
fn make_executable(file: &OwnedFd) -> Result<(), Errno> {
    let mode = Mode::from_raw_mode(rustix::fs::fstat(file)?.st_mode);
    let readers = mode.as_raw_mode() & 0o444;
    fchmod(file, Mode::from_raw_mode(mode.as_raw_mode() & 0o777 | readers >> 2))
}

impl Begun {
    /// Gives it its name, now that it is whole.
    pub(crate) fn keep(mut self) -> Result<PathBuf, Failure> {
        let (from, to) = (self.temporary.as_str(), self.name.as_str());
        let named = if self.replace {
            renameat(&self.folder, from, &self.folder, to)
        } else {
            renameat_with(&self.folder, from, &self.folder, to, RenameFlags::NOREPLACE)
        };
        match named {
            Ok(()) => {
                self.kept = true;
                Ok(self.shown.clone())
            }
            Err(error) => {
                let reason = match error {
                    Errno::EXIST => EXISTS.to_owned(),
                    error => error.to_string(),
                };
                let shown = self.shown.display();
                Err(Failure::said(format!("{shown} cannot be written: {reason}")))
            }
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if !self.kept {
            let _ = unlinkat(&self.folder, &self.temporary, AtFlags::empty());
        }
    }
}

/// Another number each time.
fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::Write as _,
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use super::*;

    fn put(folder: &Folder, path: &str) -> Result<PathBuf, String> {
        let put = || {
            let (begun, mut file) = folder.begin(path, path.contains("run"))?;
            file.write_all(b"new").unwrap();
            begun.keep()
        };
        put().map_err(|failure| failure.to_string())
    }

    fn entries(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn files_come_with_their_folders_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(&place.path().join("a/b"), false).unwrap();
        for path in ["x", "c/d/run.sh", "-rf", "a b"] {
            assert_eq!(put(&folder, path).unwrap(), place.path().join("a/b").join(path));
        }
        assert_eq!(entries(&place.path().join("a/b")), ["-rf", "a b", "c", "x"]);
        let mode = |path: &str| fs::metadata(place.path().join("a/b").join(path)).unwrap();
        assert_eq!(mode("c/d/run.sh").permissions().mode() & 0o100, 0o100);
        assert_eq!(mode("x").permissions().mode() & 0o111, 0);
        let (begun, _) = folder.begin("dropped", false).unwrap();
        drop(begun);
        assert_eq!(entries(&place.path().join("a/b")), ["-rf", "a b", "c", "x"]);
    }

    #[test]
    fn nothing_leads_out_of_the_folder() {
        let place = tempfile::tempdir().unwrap();
        let (inside, outside) = (place.path().join("in"), place.path().join("out"));
        fs::create_dir_all(&inside).unwrap();
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("file"), "old").unwrap();
        symlink(&outside, inside.join("link")).unwrap();
        symlink(outside.join("file"), inside.join("file")).unwrap();
        for replace in [false, true] {
            let folder = Folder::open(&inside, replace).unwrap();
            for path in ["../x", "/etc/x", "a/../../x", "link/x", "file/x", "", ".", "a//b"] {
                let refused = put(&folder, path).unwrap_err();
                assert!(refused.contains("cannot be written"), "{path}: {refused}");
            }
        }
        let folder = Folder::open(&inside, true).unwrap();
        put(&folder, "file").unwrap();
        assert!(inside.join("file").symlink_metadata().unwrap().is_file(), "the link is replaced");
        assert_eq!(fs::read(outside.join("file")).unwrap(), b"old");
        assert_eq!(entries(&outside), ["file"]);
        assert_eq!(entries(place.path()), ["in", "out"]);
    }

    #[test]
    fn what_is_there_stays_unless_it_may_be_replaced() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("x"), "old").unwrap();
        let careful = Folder::open(place.path(), false).unwrap();
        assert!(put(&careful, "x").unwrap_err().contains("--force"));
        assert_eq!(fs::read(place.path().join("x")).unwrap(), b"old");
        let (late, _) = careful.begin("y", false).unwrap();
        fs::write(place.path().join("y"), "came meanwhile").unwrap();
        assert!(late.keep().unwrap_err().to_string().contains("--force"));
        assert_eq!(fs::read(place.path().join("y")).unwrap(), b"came meanwhile");
        put(&Folder::open(place.path(), true).unwrap(), "x").unwrap();
        assert_eq!(fs::read(place.path().join("x")).unwrap(), b"new");
        assert_eq!(entries(place.path()), ["x", "y"]);
    }
}
