//! A small file system in memory, for tests of a full disk.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{is_root, skip};

/// The file that takes up all the free space.
const FILLER: &str = "filler";
/// Allocation unit of the file system, in bytes.
const PAGE: usize = 4096;

/// A mounted file system. Dropping it unmounts it.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts a file system of `size` (such as `8m`) at a new folder. Returns `None`, and prints one
    /// line that says why, where mounting is not allowed.
    ///
    /// # Panics
    /// When the folder cannot be made.
    pub fn mount(at: PathBuf, size: &str) -> Option<Self> {
        if !is_root() {
            skip("small disk", "only root may mount one");
            return None;
        }
        fs::create_dir(&at).expect("a new folder");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=777"), "orchestra-tests"])
            .arg(&at)
            .output()
            .expect("mount is part of every Linux");
        if !mount.status.success() {
            skip("small disk", String::from_utf8_lossy(&mount.stderr).trim());
            return None;
        }
        Some(Self(at))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Free bytes.
    pub fn free(&self) -> u64 {
        let disk = rustix::fs::statvfs(&self.0).expect("it is mounted");
        disk.f_bavail * disk.f_frsize
    }

    /// Fills it until no more than `left` bytes are free.
    pub fn fill(&self, left: u64) {
        let filler = self.0.join(FILLER);
        let mut file = File::options().create(true).append(true).open(filler).expect("a filler");
        while self.free() > left && file.write_all(&[1; PAGE]).is_ok() {}
    }

    /// Frees the filled space again.
    pub fn empty(&self) {
        fs::remove_file(self.0.join(FILLER)).expect("it was filled before");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            crate::say(&format!("{} stays mounted", self.0.display()));
        }
    }
}
