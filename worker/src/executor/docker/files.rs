//! worker-files: makes sure that the folder exists, finds its owner, and keeps jobs from running as
//! root because of it.
//!
//! A clone made as root belongs to root. Jobs still run as an ordinary user, so the folder and the
//! files directly in it are given to that user, once. Until then only root could write there, so
//! nothing in it can have been planted. After that nothing in it is changed again, and nothing ever
//! walks it.
//!
//! All changes go through a descriptor that was opened without following links, so a file or folder
//! put in the original's place is never touched.

use std::{
    fs, io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, chmod, chownat, fchown, fstat,
    openat, openat2,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use crate::config::JobUser;

/// The user that runs jobs when worker-files belongs to root.
const ORDINARY: JobUser = JobUser { uid: 1000, gid: 1000 };

/// Folders that no job may have as its working folder. Their parents are listed as well.
const NEVER: &[&str] = &[
    "/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/opt", "/proc", "/root",
    "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var", "/var/lib", "/var/run",
];
/// The same for everything below these.
const NEVER_BELOW: &[&str] =
    &["/boot", "/dev", "/etc", "/proc", "/sys", "/var/lib/docker", "/var/lib/containerd"];

/// worker-files on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WorkerFiles {
    /// Without links and dots.
    pub(crate) path: PathBuf,
    /// The user that jobs run as.
    pub(crate) user: JobUser,
}

impl WorkerFiles {
    /// Restores the owner's rights to the folder. A job may have removed them, and the next job
    /// needs them.
    pub(crate) fn mend(&self) {
        // Its owner can open a folder without read permission only in this way.
        let mended = open_folder(&self.path, OFlags::PATH).and_then(|folder| {
            let now = fstat(&folder)?;
            let mode = Mode::from_raw_mode(now.st_mode);
            if now.st_uid == self.user.uid && !mode.contains(Mode::RWXU) {
                // The way to change the mode behind an `O_PATH` descriptor (openat(2)).
                let itself = format!("/proc/self/fd/{}", folder.as_raw_fd());
                chmod(itself, mode | Mode::RWXU)?;
            }
            Ok(())
        });
        if let Err(error) = mended {
            tracing::warn!("worker-files {} cannot be mended: {error}", self.path.display());
        }
    }
}

/// Prepares worker-files for jobs. Refuses a folder in which jobs could reach `engine_socket`.
pub(crate) fn prepare(
    folder: &Path,
    user: Option<JobUser>,
    engine_socket: Option<&Path>,
) -> Result<WorkerFiles, String> {
    let shown = folder.display();
    let failed = |what: &str, error: io::Error| format!("worker-files {shown}: {what}: {error}");
    fs::create_dir_all(folder).map_err(|error| failed("it cannot be created", error))?;
    let path = folder.canonicalize().map_err(|error| failed("it cannot be found", error))?;
    refuse_places(&path, engine_socket)?;
    let opened = open_folder(&path, OFlags::RDONLY);
    let opened = opened.map_err(|error| failed("it cannot be opened", error.into()))?;
    let owner = fstat(&opened).map_err(|error| failed("it cannot be looked at", error.into()))?;
    let user = user.unwrap_or_else(|| user_of(&owner));
    if owner.st_uid == 0 && user.uid != 0 {
        give(&opened, &owner, user).map_err(|error| {
            format!(
                "worker-files {shown} belongs to root and cannot be given to user {user} ({error}); \
                 run: sudo chown {user} {}",
                path.display()
            )
        })?;
    }
    Ok(WorkerFiles { path, user })
}

/// Opens the folder at this path. No component of the path may be a link.
fn open_folder(path: &Path, how: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = how | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        // Linux before 5.6, or a system call filter that is older than that.
        Err(Errno::NOSYS | Errno::PERM) => openat(CWD, path, flags, Mode::empty()),
        opened => opened,
    }
}

/// The user that would run jobs in this folder, and the folder's owner. Changes nothing; for
/// `doctor`.
pub(crate) fn user_of_folder(folder: &Path) -> io::Result<(JobUser, u32)> {
    let owner = rustix::fs::stat(folder)?;
    Ok((user_of(&owner), owner.st_uid))
}

fn user_of(owner: &Stat) -> JobUser {
    match (owner.st_uid, owner.st_gid) {
        (0, _) => ORDINARY,
        // Group root can read more than an ordinary user should.
        (uid, 0) => JobUser { uid, gid: uid },
        (uid, gid) => JobUser { uid, gid },
    }
}

fn refuse_places(path: &Path, engine_socket: Option<&Path>) -> Result<(), String> {
    let system = NEVER.iter().any(|place| path == Path::new(place))
        || NEVER_BELOW.iter().any(|place| path.starts_with(place));
    let socket = engine_socket.and_then(|socket| socket.canonicalize().ok());
    let holds_socket = socket.is_some_and(|socket| socket.starts_with(path));
    if system || holds_socket {
        let shown = path.display();
        return Err(format!(
            "worker-files cannot be {shown}: jobs write there; name a folder of its own with --worker-files"
        ));
    }
    Ok(())
}

/// Changes the owner of the files, then of the folder. The folder comes last: once it belongs to
/// the job's user, it may contain anything.
fn give(folder: &OwnedFd, owner: &Stat, user: JobUser) -> rustix::io::Result<()> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    let only_roots = owner.st_mode & 0o022 == 0;
    if only_roots {
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            // For a pipe or a device, this opens only the name.
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = openat(folder, name, flags, Mode::empty())?;
            let found = fstat(&file)?;
            let plain = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile;
            // A file with a second name may belong to somebody elsewhere.
            if plain && found.st_nlink == 1 && found.st_uid == 0 {
                chownat(&file, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
            }
        }
    }
    fchown(folder, Some(uid), Some(gid))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use rustix::fs::mknodat;

    use super::*;

    fn owner(path: &Path) -> u32 {
        path.symlink_metadata().unwrap().uid()
    }

    #[test]
    fn a_folder_that_was_shut_is_opened_again() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("worker-files");
        let files = prepare(&path, None, None).unwrap();
        let mode = || path.metadata().unwrap().permissions().mode() & 0o777;
        for (shut, open) in [(0o000, 0o700), (0o055, 0o755), (0o500, 0o700), (0o750, 0o750)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(shut)).unwrap();
            files.mend();
            assert_eq!(mode(), open, "{shut:o}");
        }
        // A folder that belongs to another user must not be opened.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o500)).unwrap();
        let user = JobUser { uid: files.user.uid + 1, ..files.user };
        WorkerFiles { user, ..files }.mend();
        assert_eq!(mode(), 0o500);
        fs::remove_dir(&path).unwrap();
    }

    #[test]
    fn what_takes_the_folders_place_is_left_alone() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("worker-files");
        let files = prepare(&path, None, None).unwrap();
        let other = home.path().join("other");
        fs::rename(&path, &other).unwrap();
        fs::set_permissions(&other, fs::Permissions::from_mode(0o500)).unwrap();
        let mode = || other.metadata().unwrap().permissions().mode() & 0o777;
        // As the last component of the path, and as one in the middle.
        symlink(&other, &path).unwrap();
        files.mend();
        assert_eq!(mode(), 0o500);
        symlink(home.path(), home.path().join("home")).unwrap();
        WorkerFiles { path: home.path().join("home/other"), ..files.clone() }.mend();
        assert_eq!(mode(), 0o500);
        WorkerFiles { path: other.clone(), ..files }.mend();
        assert_eq!(mode(), 0o700);
    }

    #[test]
    fn a_missing_folder_is_made() {
        let home = tempfile::tempdir().unwrap();
        let files = prepare(&home.path().join("a/worker-files"), None, None).unwrap();
        assert!(files.path.is_dir());
        assert_ne!(files.user.uid, 0);
    }

    #[test]
    fn places_of_the_system_are_refused() {
        let home = tempfile::tempdir().unwrap();
        let socket = home.path().join("run/engine.sock");
        fs::create_dir(home.path().join("run")).unwrap();
        fs::write(&socket, "").unwrap();
        for place in ["/", "/etc", "/usr", "/proc/self", "/var/lib/docker"] {
            let refused = refuse_places(Path::new(place), None).unwrap_err();
            assert!(refused.contains("--worker-files"), "{refused}");
        }
        let path = home.path().canonicalize().unwrap();
        assert!(refuse_places(&path, Some(&socket)).is_err());
        assert!(refuse_places(&path.join("run"), Some(&socket)).is_err());
        assert_eq!(refuse_places(&path.join("files"), Some(&socket)), Ok(()));
    }

    #[test]
    fn a_link_to_a_place_of_the_system_is_seen_through() {
        let home = tempfile::tempdir().unwrap();
        symlink("/etc", home.path().join("worker-files")).unwrap();
        assert!(prepare(&home.path().join("worker-files"), None, None).is_err());
    }

    /// Only root can give files away. Without root there is nothing to test.
    #[test]
    fn a_folder_of_root_is_given_to_an_ordinary_user_once_and_not_deeply() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("worker-files");
        fs::create_dir_all(folder.join("sub")).unwrap();
        fs::write(home.path().join("secret"), "").unwrap();
        for name in ["Hello.cpp", "sub/deep"] {
            fs::write(folder.join(name), "").unwrap();
        }
        symlink(home.path().join("secret"), folder.join("link")).unwrap();
        symlink("link", folder.join("with\nline feed")).unwrap();
        symlink("loop", folder.join("loop")).unwrap();
        let pipe = Mode::from_raw_mode(0o644);
        // Opening it for writing would wait for a reader.
        mknodat(CWD, folder.join("pipe"), FileType::Fifo, pipe, 0).unwrap();
        drop(std::os::unix::net::UnixListener::bind(folder.join("socket")).unwrap());
        fs::hard_link(home.path().join("secret"), folder.join("hard")).unwrap();

        let files = prepare(&folder, None, None).unwrap();
        assert_eq!(files.user, ORDINARY);
        assert_eq!((owner(&folder), owner(&folder.join("Hello.cpp"))), (1000, 1000));
        for untouched in
            ["sub", "sub/deep", "link", "hard", "with\nline feed", "loop", "pipe", "socket"]
        {
            assert_eq!(owner(&folder.join(untouched)), 0, "{untouched}");
        }
        assert_eq!(owner(&home.path().join("secret")), 0);

        fs::write(folder.join("later"), "").unwrap();
        assert_eq!(prepare(&folder, None, None).unwrap().user, ORDINARY);
        assert_eq!(owner(&folder.join("later")), 0, "a folder that was given is left alone");
    }
}
