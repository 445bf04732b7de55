//! System calls on files, by a folder's descriptor and one name in it. No call here follows a link,
//! and none waits for the other end of a pipe.

use std::{
    ffi::CString,
    fs::File,
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, FromRawFd},
    ptr,
    time::Duration,
};

use libc::c_int;

use super::check;

/// Offsets in an entry of `getdents64(2)`: inode, offset, its own length, kind, name, NUL.
const LENGTH_AT: usize = 16;
const NAME_AT: usize = 19;

/// The metadata of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    /// File type and permissions.
    pub(crate) mode: u32,
    pub(crate) size: u64,
    /// Seconds and nanoseconds.
    pub(crate) modified: (i64, i64),
    pub(crate) changed: (i64, i64),
}

impl Seen {
    pub(crate) fn is_folder(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFDIR
    }

    pub(crate) fn is_file(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFREG
    }
}

/// `lstat(2)`.
pub(crate) fn look_at(folder: &File, name: &[u8]) -> io::Result<Seen> {
    let name = CString::new(name)?;
    let mut seen = MaybeUninit::<libc::stat>::zeroed();
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT;
    // SAFETY: the name ends in a NUL, the struct is there for the call to write to, and all
    // zeros are a valid one.
    let seen = unsafe {
        check(libc::fstatat(folder.as_raw_fd(), name.as_ptr(), seen.as_mut_ptr(), flags))?;
        seen.assume_init()
    };
    Ok(Seen {
        device: seen.st_dev,
        inode: seen.st_ino,
        mode: seen.st_mode,
        size: seen.st_size as u64,
        modified: (seen.st_mtime, seen.st_mtime_nsec),
        changed: (seen.st_ctime, seen.st_ctime_nsec),
    })
}

/// Opens a folder and nothing else: for listing, or only for going `through` it.
pub(crate) fn open_folder_at(folder: &File, name: &[u8], through: bool) -> io::Result<File> {
    let how = if through { libc::O_PATH } else { libc::O_RDONLY | libc::O_NONBLOCK };
    open_at(folder, name, how | libc::O_DIRECTORY, 0)
}

/// Opens for reading. The caller checks the metadata for whether it is a regular file.
pub(crate) fn open_file_at(folder: &File, name: &[u8]) -> io::Result<File> {
    open_at(folder, name, libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY, 0)
}

/// Creates a file that did not exist, with this mode less the umask.
pub(crate) fn write_new_at(folder: &File, name: &[u8], mode: u32) -> io::Result<File> {
    open_at(folder, name, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL, mode)
}

fn open_at(folder: &File, name: &[u8], how: c_int, mode: u32) -> io::Result<File> {
    let name = CString::new(name)?;
    let how = how | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: the name ends in a NUL and outlives the call.
    let fd = check(unsafe { libc::openat(folder.as_raw_fd(), name.as_ptr(), how, mode) })?;
    // SAFETY: the call has just made this descriptor, and nobody else has it.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// Creates a folder with all permissions less the umask.
pub(crate) fn make_folder_at(folder: &File, name: &[u8]) -> io::Result<()> {
    let name = CString::new(name)?;
    // SAFETY: the name ends in a NUL and outlives the call.
    check(unsafe { libc::mkdirat(folder.as_raw_fd(), name.as_ptr(), 0o777) }).map(|_| ())
}

/// Replaces what has the new name, unless that is a folder.
pub(crate) fn rename_at(folder: &File, old: &[u8], new: &[u8]) -> io::Result<()> {
    let (old, new) = (CString::new(old)?, CString::new(new)?);
    let fd = folder.as_raw_fd();
    // SAFETY: both names end in a NUL and outlive the call.
    check(unsafe { libc::renameat(fd, old.as_ptr(), fd, new.as_ptr()) }).map(|_| ())
}

pub(crate) fn remove_at(folder: &File, name: &[u8]) -> io::Result<()> {
    let name = CString::new(name)?;
    // SAFETY: the name ends in a NUL and outlives the call.
    check(unsafe { libc::unlinkat(folder.as_raw_fd(), name.as_ptr(), 0) }).map(|_| ())
}

/// The next names in a folder, as many as fit the buffer; returns `false` after the last.
pub(crate) fn names_of(
    folder: &File,
    buffer: &mut [u8],
    mut each: impl FnMut(&[u8]),
) -> io::Result<bool> {
    // SAFETY: the kernel writes to the buffer, and no more than its length.
    let length = unsafe {
        libc::syscall(
            libc::SYS_getdents64,
            folder.as_raw_fd(),
            buffer.as_mut_ptr().cast::<libc::c_void>(),
            buffer.len(),
        )
    };
    let length = check(length as c_int)? as usize;
    let mut rest = &buffer[..length];
    while let Some(&[low, high]) = rest.get(LENGTH_AT..LENGTH_AT + 2) {
        let (entry, others) = rest.split_at(usize::from(u16::from_ne_bytes([low, high])));
        rest = others;
        let name = entry[NAME_AT..].split(|byte| *byte == 0).next().unwrap_or_default();
        if !matches!(name, b"." | b"..") {
            each(name);
        }
    }
    Ok(length > 0)
}

/// The clock that sets file times. It advances in steps of a few milliseconds.
pub(crate) fn coarse_time() -> io::Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the struct is there for the call to write to.
    check(unsafe { libc::clock_gettime(libc::CLOCK_REALTIME_COARSE, &raw mut time) })?;
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// A number that nobody can guess.
pub(crate) fn random_number() -> io::Result<u64> {
    let mut bytes = [0_u8; 8];
    let place = ptr::from_mut(&mut bytes).cast::<libc::c_void>();
    // SAFETY: the kernel writes eight bytes, for which there is room.
    let done = unsafe { libc::getrandom(place, bytes.len(), 0) };
    check(done as c_int)?;
    Ok(u64::from_ne_bytes(bytes))
}
