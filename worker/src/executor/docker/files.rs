//! worker-files: that it exists, whose it is, and that no job runs as root for it.
//!
//! A clone made as root belongs to root. Jobs still run as an ordinary user, so
//! the folder and the files directly in it are given to that user, once. Until
//! that moment only root could write there, so nothing in it can have been
//! planted; from then on nothing in it is touched again, and nothing ever walks it.
//!
//! What is done to the folder or to a file is done to a descriptor of it that was
//! opened without following links, so whatever is put in its place meanwhile is not
//! touched.

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

/// Who runs jobs when worker-files belongs to root.
const ORDINARY: JobUser = JobUser { uid: 1000, gid: 1000 };

/// What no job may have as its working folder, nor anything above it.
const NEVER: &[&str] = &[
    "/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/opt", "/proc", "/root",
    "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var", "/var/lib", "/var/run",
];
/// Nor anything below these.
const NEVER_BELOW: &[&str] =
    &["/boot", "/dev", "/etc", "/proc", "/sys", "/var/lib/docker", "/var/lib/containerd"];

/// worker-files as it is on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WorkerFiles {
    /// Without links and dots.
    pub(crate) path: PathBuf,
    /// Who jobs run as.
    pub(crate) user: JobUser,
}

impl WorkerFiles {
    /// A job may have taken its own rights to the folder away; the next one wants
    /// them.
    pub(crate) fn mend(&self) {
        // A folder that is shut can be opened in no other way by its owner.
        let mended = open_folder(&self.path, OFlags::PATH).and_then(|folder| {
            let now = fstat(&folder)?;
            let mode = Mode::from_raw_mode(now.st_mode);
            if now.st_uid == self.user.uid && !mode.contains(Mode::RWXU) {
                // The way to change what such a descriptor stands for (openat(2), O_PATH).
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

/// Makes worker-files ready for jobs. `engine_socket` must not be within reach of them.
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

/// The folder at this path, in which no part may be a link.
fn open_folder(path: &Path, how: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = how | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        // Before Linux 5.6, and where a filter of system calls is older than that.
        Err(Errno::NOSYS | Errno::PERM) => openat(CWD, path, flags, Mode::empty()),
        opened => opened,
    }
}

/// Who would run jobs in this folder, with nothing changed; for `doctor`.
pub(crate) fn user_of_folder(folder: &Path) -> io::Result<(JobUser, u32)> {
    let owner = rustix::fs::stat(folder)?;
    Ok((user_of(&owner), owner.st_uid))
}

fn user_of(owner: &Stat) -> JobUser {
    match (owner.st_uid, owner.st_gid) {
        (0, _) => ORDINARY,
        // Group root reads more than an ordinary user should.
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

/// The folder last: once it is the job user's, its content may be anything.
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
            // Of a pipe or a device, this opens no more than the name.
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = openat(folder, name, flags, Mode::empty())?;
            let found = fstat(&file)?;
            let plain = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile;
            // A file with a second name may be somebody's elsewhere.
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
        // What belongs to somebody else is not ours to open.
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
        // As the last part of the path, and as one in its middle.
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

    /// Only root can give files away; elsewhere there is nothing to give.
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
        // Whoever opened it to write would wait for a reader.
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
