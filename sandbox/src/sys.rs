//! The system calls that std does not offer. Almost all `unsafe` code of this program is here, but
//! none of its decisions.

mod files;

use std::{
    ffi::CStr,
    fs::File,
    io::{self, Read},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd},
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{Command, ExitStatus},
    ptr,
    time::Duration,
};

use libc::c_int;

use crate::filter;

pub(crate) use files::{
    Seen, coarse_time, look_at, make_folder_at, names_of, open_file_at, open_folder_at,
    random_number, remove_at, rename_at, write_new_at,
};

/// The highest signal number.
const LAST_SIGNAL: c_int = 64;

/// The length of the kernel's signal masks, in bytes.
const MASK_SIZE: usize = LAST_SIGNAL as usize / 8;

/// The first descriptor after standard input, output and error.
const FIRST_UNUSED: u32 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Terminate = libc::SIGTERM as isize,
    Kill = libc::SIGKILL as isize,
    Continue = libc::SIGCONT as isize,
}

/// Makes this process inaccessible to the job, resets its signal handlers, makes it adopt orphans,
/// and closes all descriptors but the first three.
pub(crate) fn become_init() -> io::Result<()> {
    // SAFETY: both options take plain numbers.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) })?;
    // SAFETY: as above. A PID 1 adopts orphans anyway.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) })?;
    // A runtime that leaks a descriptor would give the job a way out (CVE-2024-21626). Kernels
    // before 5.9 lack this call; there, only the runtime can prevent it.
    // SAFETY: takes plain numbers; this program has opened nothing yet.
    unsafe { libc::syscall(libc::SYS_close_range, FIRST_UNUSED, u32::MAX, 0) };
    // The Rust runtime has installed handlers for stack overflows.
    default_signals();
    // SAFETY: ignoring a signal runs no code. A missing reader is then an error of `write`.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    Ok(())
}

/// Uses the system call itself: the C library refuses to touch its internal signals, which a job
/// can inherit as ignored like any other.
fn default_signals() {
    // The kernel's `struct sigaction`, which is shorter: no handler, no flags, no mask.
    let default = [0_u64; 8];
    for signal in 1..=LAST_SIGNAL {
        let old = ptr::null_mut::<u64>();
        // SAFETY: the struct outlives the call, and the default disposition calls no code.
        // For SIGKILL and SIGSTOP the call fails and changes nothing, as it should.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), old, MASK_SIZE) };
    }
}

fn signals(wanted: &[c_int]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set that it is given.
    let mut set = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    };
    for &signal in wanted {
        // SAFETY: the set is initialised.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    set
}

fn set_signal_mask(set: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: the set outlives the call, and the old one is not asked for.
    check(unsafe { libc::sigprocmask(libc::SIG_SETMASK, set, ptr::null_mut()) }).map(|_| ())
}

/// A descriptor that becomes readable when a child has ended; see [`acknowledge`].
pub(crate) fn watch_children() -> io::Result<File> {
    let set = signals(&[libc::SIGCHLD]);
    set_signal_mask(&set)?;
    // SAFETY: the set outlives the call.
    let fd = check(unsafe {
        libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    })?;
    // SAFETY: the call has just made this descriptor, and nobody else has it.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// Resets [`watch_children`], so that it waits for the next child.
pub(crate) fn acknowledge(mut children: &File) -> io::Result<()> {
    let mut signal = [0; size_of::<libc::signalfd_siginfo>()];
    match children.read(&mut signal) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(()),
    }
}

/// Makes the command start in its own session with default signals and an empty signal mask,
/// without anything of this program's, and with the [`filter`] that confines it and all its
/// children.
pub(crate) fn start_shut_in(command: &mut Command) {
    // SAFETY: takes nothing and cannot fail.
    let group = unsafe { libc::getpgrp() };
    let filter = filter::program(std::process::id(), group as u32);
    let prepare = move || {
        // SAFETY: takes nothing.
        check(unsafe { libc::setsid() })?;
        default_signals();
        set_signal_mask(&signals(&[]))?;
        shut_in(&filter)
    };
    // SAFETY: `prepare` runs between fork and exec. It only makes system calls
    // that are async-signal-safe, and this program has one thread.
    unsafe { command.pre_exec(prepare) };
}

/// From now on, for this process and all its children: no privileges from set-uid programs, and no
/// system calls that the filter refuses.
fn shut_in(filter: &[libc::sock_filter]) -> io::Result<()> {
    // SAFETY: takes plain numbers.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // Without this flag, older kernels slow the job down with mitigations against speculative
    // execution that are meant for browsers.
    let flags = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    // SAFETY: the kernel copies the program, which outlives the call, and does not write to it.
    let done = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
    };
    check(done as c_int).map(|_| ())
}

/// Forks a process that exits at once. If that fails, a job could not be started either.
pub(crate) fn use_up_a_number() {
    // SAFETY: this program has one thread, and the child makes one system call and is gone.
    match unsafe { libc::fork() } {
        // SAFETY: takes a number, and runs nothing of this program's.
        0 => unsafe { libc::_exit(0) },
        // SAFETY: a null status is allowed; the call only waits.
        child @ 1.. => drop(unsafe { libc::waitpid(child, ptr::null_mut(), 0) }),
        _ => {}
    }
}

pub(crate) fn set_umask(mask: u32) {
    // SAFETY: takes a number and cannot fail.
    unsafe { libc::umask(mask & 0o777) };
}

pub(crate) fn file_in_memory(name: &CStr) -> io::Result<File> {
    // SAFETY: the name ends in a NUL and outlives the call.
    let fd = check(unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) })?;
    // SAFETY: the call has just made this descriptor, and nobody else has it.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// Signals a process, the group `-target`, or, if `target` is -1 and this is PID 1, all other
/// processes. A missing target is no error.
pub(crate) fn kill(target: i32, signal: Signal) {
    // SAFETY: takes numbers only.
    unsafe { libc::kill(target, signal as c_int) };
}

pub(crate) enum Reaped {
    Child(i32, ExitStatus),
    /// There are children, but none of them has ended.
    NoneYet,
    NoneLeft,
}

pub(crate) fn reap() -> Reaped {
    let mut status = 0;
    // SAFETY: the status is there for the call to write to.
    match unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) } {
        0 => Reaped::NoneYet,
        // With these arguments only ECHILD is possible.
        ..0 => Reaped::NoneLeft,
        pid => Reaped::Child(pid, ExitStatus::from_raw(status)),
    }
}

/// User and system time of all reaped children and their descendants.
pub(crate) fn cpu_of_children() -> Duration {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the struct is there for the call to write to, and all zeros are a valid one.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr());
        usage.assume_init()
    };
    let duration =
        |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    duration(usage.ru_utime) + duration(usage.ru_stime)
}

/// Monotonic; includes the time in which the machine was suspended.
pub(crate) fn time_since_boot() -> io::Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the struct is there for the call to write to.
    check(unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) })?;
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// Makes reads and writes return at once, also for others that share the open file.
pub(crate) fn never_block(file: &impl AsFd) -> io::Result<()> {
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: the descriptor is borrowed, so it is open.
    let flags = check(unsafe { libc::fcntl(fd, libc::F_GETFL) })?;
    // SAFETY: as above.
    check(unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) }).map(|_| ())
}

/// What [`poll`] waits for; `None` is ignored.
pub(crate) enum Watched<'a> {
    Readable(Option<BorrowedFd<'a>>),
    Writable(Option<BorrowedFd<'a>>),
}

/// Waits until one is ready or broken; returns which ones are.
pub(crate) fn poll<const N: usize>(
    watched: [Watched<'_>; N],
    timeout: Duration,
) -> io::Result<[bool; N]> {
    let mut fds = watched.map(|watched| {
        let (fd, events) = match watched {
            Watched::Readable(fd) => (fd, libc::POLLIN),
            Watched::Writable(fd) => (fd, libc::POLLOUT),
        };
        // The kernel ignores negative descriptors.
        libc::pollfd { fd: fd.map_or(-1, |fd| fd.as_raw_fd()), events, revents: 0 }
    });
    let millis = c_int::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(c_int::MAX);
    // SAFETY: the array outlives the call and has as many entries as it is told.
    match check(unsafe { libc::poll(fds.as_mut_ptr(), N as libc::nfds_t, millis) }) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(fds.map(|fd| fd.revents != 0)),
    }
}

/// A socket to the kernel's routing tables, rtnetlink(7).
pub(crate) fn netlink() -> io::Result<File> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: takes plain numbers.
    let fd = check(unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) })?;
    // SAFETY: the call has just made this descriptor, and nobody else has it.
    Ok(unsafe { File::from_raw_fd(fd) })
}

fn check(result: c_int) -> io::Result<c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
