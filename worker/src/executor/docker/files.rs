//! worker-files: that it exists, whose it is, and that no job runs as root for it.
//!
//! A clone made as root belongs to root. Jobs still run as an ordinary user, so
//! the folder and the files directly in it are given to that user, once. Until
//! that moment only root could write there, so nothing in it can have been
//! planted; from then on it is never touched again, and nothing ever walks it.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, chmodat, chownat, fchown, fstat, openat,
    statat,
};
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
    /// them. No job can put anything else in the folder's place: they see nothing
    /// of what it stands in.
    pub(crate) fn mend(&self) {
        let mended = statat(CWD, &self.path, AtFlags::SYMLINK_NOFOLLOW).and_then(|now| {
            let mode = Mode::from_raw_mode(now.st_mode);
            let shut = now.st_uid == self.user.uid && !mode.contains(Mode::RWXU);
            if shut && FileType::from_raw_mode(now.st_mode) == FileType::Directory {
                chmodat(CWD, &self.path, mode | Mode::RWXU, AtFlags::empty())?;
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
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat(CWD, &path, flags, Mode::empty());
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
            let file = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let plain = FileType::from_raw_mode(file.st_mode) == FileType::RegularFile;
            // A file with a second name may be somebody's elsewhere.
            if plain && file.st_nlink == 1 && file.st_uid == 0 {
                chownat(folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
            }
        }
    }
    fchown(folder, Some(uid), Some(gid))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

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
        fs::hard_link(home.path().join("secret"), folder.join("hard")).unwrap();

        let files = prepare(&folder, None, None).unwrap();
        assert_eq!(files.user, ORDINARY);
        assert_eq!((owner(&folder), owner(&folder.join("Hello.cpp"))), (1000, 1000));
        for untouched in ["sub", "sub/deep", "link", "hard"] {
            assert_eq!(owner(&folder.join(untouched)), 0, "{untouched}");
        }
        assert_eq!(owner(&home.path().join("secret")), 0);

        fs::write(folder.join("later"), "").unwrap();
        assert_eq!(prepare(&folder, None, None).unwrap().user, ORDINARY);
        assert_eq!(owner(&folder.join("later")), 0, "a folder that was given is left alone");
    }
}
