//! Reads one image's folder into memory. Follows no links, and refuses a folder that is larger than
//! any build context needs to be.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use rustix::fs::OFlags;

use super::recipe::{Entry, Kind};

/// A folder is held in memory while its image is built. Larger content is better fetched by a step
/// of the Dockerfile.
pub(super) const MAX_BYTES: u64 = 32 << 20;
const MAX_ENTRIES: usize = 4096;

/// Everything in `home`, each folder before its content, in an order that does not depend on the
/// file system.
pub(super) fn entries(home: &Path) -> io::Result<Vec<Entry>> {
    let mut walk = Walk { home, entries: Vec::new(), bytes: 0 };
    walk.visit(Path::new(""))?;
    Ok(walk.entries)
}

struct Walk<'a> {
    home: &'a Path,
    entries: Vec<Entry>,
    bytes: u64,
}

impl Walk<'_> {
    fn visit(&mut self, inside: &Path) -> io::Result<()> {
        let mut names = fs::read_dir(self.home.join(inside))?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort_unstable();
        for name in names {
            let path = inside.join(name);
            let meta = fs::symlink_metadata(self.home.join(&path))?;
            let kind = if meta.is_dir() {
                Kind::Folder
            } else if meta.is_symlink() {
                Kind::Link(fs::read_link(self.home.join(&path))?)
            } else if meta.is_file() {
                self.file(&path)?
            } else {
                let shown = path.display();
                return Err(io::Error::other(format!("{shown} is no file, folder or link")));
            };
            let is_folder = kind == Kind::Folder;
            self.entries.push(Entry { path: path.clone(), kind });
            if self.entries.len() > MAX_ENTRIES {
                return Err(io::Error::other(format!("it has more than {MAX_ENTRIES} files")));
            }
            if is_folder {
                self.visit(&path)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> io::Result<Kind> {
        let no_follow = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let file =
            OpenOptions::new().read(true).custom_flags(no_follow).open(self.home.join(path))?;
        let executable = file.metadata()?.permissions().mode() & 0o100 != 0;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES - self.bytes + 1).read_to_end(&mut bytes)?;
        self.bytes += bytes.len() as u64;
        if self.bytes > MAX_BYTES {
            let limit = MAX_BYTES >> 20;
            return Err(io::Error::other(format!("it is larger than {limit} MiB")));
        }
        Ok(Kind::File { executable, bytes })
    }
}
