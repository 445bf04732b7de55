//! A folder that is served over SFTP and mounted by sshfs, once for each host. The two speak over a pair of
//! pipes, so there is no server that listens, no key and no network.

use std::{
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use orchestra_tests::{is_root, say, skip, wait};

const SERVER: &str = "/usr/lib/openssh/sftp-server";
/// Whose the files are, and as whom the server writes.
const USER: u32 = 1000;

/// As NFS does it when a file is opened: what the other host wrote meanwhile is asked for. By its own
/// defaults, sshfs goes by what it knew 20 s ago, and a job here reads the old end of a file.
const FRESH: &str = "dir_cache=no,attr_timeout=0,entry_timeout=0";

/// A folder of a file server.
#[derive(Debug)]
pub(super) struct Export(PathBuf);

impl Export {
    /// `None`, and one line that says why, where nothing can be mounted.
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

    /// As one host mounts it.
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

/// Unmounted when dropped.
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
