//! A folder served over SFTP and mounted by sshfs, once for each host. Both ends talk over a pair of
//! pipes, so no server listens, and no key or network is needed.

use std::{
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use orchestra_tests::{is_root, say, skip, wait};

const SERVER: &str = "/usr/lib/openssh/sftp-server";
/// Owner of the files, and the user that the server writes as.
const USER: u32 = 1000;

/// Close-to-open consistency, as with NFS: opening a file fetches what the other host wrote. By default
/// sshfs caches for 20 s, and a job here would read a stale file.
const FRESH: &str = "dir_cache=no,attr_timeout=0,entry_timeout=0";

/// A folder of a file server.
#[derive(Debug)]
pub(super) struct Export(PathBuf);

impl Export {
    /// Returns `None`, and prints one line that says why, where nothing can be mounted.
    pub(super) fn of(folder: &Path) -> Option<Self> {
        let sshfs = Command::new("sshfs").arg("--version").stdout(Stdio::null()).status();
        let is_installed = sshfs.is_ok_and(|status| status.success()) && Path::new(SERVER).exists();
        if !is_root() || !Path::new("/dev/fuse").exists() {
            skip("network file system", "only root may mount one, and the kernel must know FUSE");
            return None;
        }
        if !is_installed {
            skip("network file system", "there is no sshfs; install sshfs and openssh-sftp-server");
            return None;
        }
        let files = std::fs::read_dir(folder).expect("it is there").flatten();
        for path in files.map(|file| file.path()).chain([folder.to_owned()]) {
            chown(path, Some(USER), Some(USER)).expect("root may give files away");
        }
        Some(Self(folder.to_owned()))
    }

    /// Mounts it as one host does.
    pub(super) async fn mount(&self, at: PathBuf) -> Mount {
        std::fs::create_dir(&at).expect("a new folder");
        let user = USER.to_string();
        let mut server = Command::new("setpriv")
            .args(["--reuid", &user, "--regid", &user, "--clear-groups", SERVER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("setpriv is part of every Linux");
        let (to, from) = (server.stdin.take(), server.stdout.take());
        let client = Command::new("sshfs")
            .arg(format!(":{}", self.0.display()))
            .arg(&at)
            .args(["-o", &format!("passive,allow_other,default_permissions,{FRESH}")])
            .stdin(from.expect("it was asked for"))
            .stdout(to.expect("it was asked for"))
            .spawn()
            .expect("it is installed");
        let mount = Mount { at, server, client };
        wait::until("sshfs to mount", wait::SOON, async || mount.is_there().then_some(())).await;
        mount
    }
}

/// A mount. Dropping it unmounts it.
#[derive(Debug)]
pub(super) struct Mount {
    at: PathBuf,
    server: Child,
    client: Child,
}

impl Mount {
    pub(super) fn path(&self) -> &Path {
        &self.at
    }

    fn is_there(&self) -> bool {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        mounts.contains(&format!(" {} fuse.sshfs ", self.at.display()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.at).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            say(&format!("{} stays mounted", self.at.display()));
        }
        for child in [&mut self.client, &mut self.server] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
