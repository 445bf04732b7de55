//! `orchestra-sandbox --attempt`: as a job, tries everything that a job must not be able to do, and
//! prints for each attempt whether it was refused. The program is in every job container, so a
//! sandbox can be inspected from within without any tool of the image.
//!
//! If a call is let through, it harms nothing outside this container. An argument error (`EFAULT`,
//! `EINVAL`) means that the kernel allowed the call itself.

use std::{
    fs, io,
    net::{SocketAddr, TcpStream},
    ptr,
    time::Duration,
};

use libc::{c_int, c_long, c_ulong};

/// The pid of PID 1 as seen from within the container.
const INIT: c_long = 1;

/// The lowest priority. A process without privileges cannot raise it again.
const LOWEST: c_long = 19;

/// The timeout for connections whose packets are dropped silently.
const PATIENCE: Duration = Duration::from_secs(2);

/// Prints the result of every attempt, and a last line that marks the end.
pub(crate) fn all() {
    for (name, done) in calls() {
        let refused = match done {
            Ok(()) => false,
            Err(error) => matches!(
                error.raw_os_error(),
                Some(libc::EPERM | libc::EACCES | libc::ENOSYS | libc::EAFNOSUPPORT)
            ),
        };
        println!("{name}: {}", if refused { "refused" } else { "ALLOWED" });
    }
    println!("that is all");
}

/// Prints for each address whether it can be reached. A refused connection also proves that there
/// is a route, except on the loopback interface, which is the container's own.
pub(crate) fn connect(addresses: impl Iterator<Item = String>) {
    for address in addresses {
        let Ok(to) = address.parse::<SocketAddr>() else {
            println!("{address}: no address");
            continue;
        };
        let way = match TcpStream::connect_timeout(&to, PATIENCE) {
            Ok(_) => "REACHED",
            Err(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused if !to.ip().is_loopback() => "REACHED",
                _ => "out of reach",
            },
        };
        println!("{address}: {way}");
    }
}

fn calls() -> Vec<(&'static str, io::Result<()>)> {
    let none = 0;
    let new_user = c_long::from(libc::CLONE_NEWUSER);
    let (own_group, user) = (c_long::from(libc::PRIO_PGRP), c_long::from(libc::PRIO_USER));
    let core = c_long::from(libc::RLIMIT_CORE as c_int);
    let limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let limit = ptr::from_ref(&limit) as c_long;
    let priority = libc::sched_param { sched_priority: 0 };
    let priority = ptr::from_ref(&priority) as c_long;
    let mut byte = 0_u8;
    let place = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let place = ptr::from_ref(&place) as c_long;
    let mask = [u64::MAX; 16];
    let mask = mask.as_ptr() as c_long;
    let empty = c"".as_ptr() as c_long;
    let seize = c_long::from(libc::PTRACE_SEIZE as c_int);
    let best_effort_7 = (2 << 13) | 7;
    let stream = c_long::from(libc::SOCK_STREAM);
    let raw = c_long::from(libc::SOCK_RAW);
    let socket =
        |family: c_int, kind, of| try_to(libc::SYS_socket, [family.into(), kind, of, 0, 0]);
    vec![
        ("trace PID 1", try_to(libc::SYS_ptrace, [seize, INIT, none, none, 0])),
        ("read the memory of PID 1", fs::read("/proc/1/mem").map(|_| ())),
        ("read the environment of PID 1", fs::read("/proc/1/environ").map(|_| ())),
        ("list the descriptors of PID 1", fs::read_dir("/proc/1/fd").map(|_| ())),
        ("write to the output of PID 1", open_for_writing("/proc/1/fd/1")),
        ("open the program of PID 1", fs::File::open("/proc/1/exe").map(|_| ())),
        ("copy memory of PID 1", try_to(libc::SYS_process_vm_readv, [INIT, place, 1, place, 1])),
        ("compare with PID 1", try_to(libc::SYS_kcmp, [INIT, INIT, none, none, 0])),
        ("limit PID 1", try_to(libc::SYS_prlimit64, [INIT, core, limit, none, 0])),
        ("renice PID 1", try_to(libc::SYS_setpriority, [none, INIT, LOWEST, none, 0])),
        (
            "renice the group of PID 1",
            try_to(libc::SYS_setpriority, [own_group, INIT, LOWEST, 0, 0]),
        ),
        ("renice the user of PID 1", try_to(libc::SYS_setpriority, [user, none, LOWEST, none, 0])),
        ("idle PID 1", try_to(libc::SYS_sched_setscheduler, [INIT, none, priority, none, 0])),
        ("set a priority of PID 1", try_to(libc::SYS_sched_setparam, [INIT, priority, 0, 0, 0])),
        ("set attributes of PID 1", try_to(libc::SYS_sched_setattr, [INIT, none, none, 0, 0])),
        ("bind PID 1 to a core", try_to(libc::SYS_sched_setaffinity, [INIT, 128, mask, 0, 0])),
        ("slow the disk of PID 1", try_to(libc::SYS_ioprio_set, [1, INIT, best_effort_7, 0, 0])),
        ("io_uring_setup", try_to(libc::SYS_io_uring_setup, [1, none, none, none, 0])),
        ("bpf", try_to(libc::SYS_bpf, [none, none, none, none, 0])),
        ("userfaultfd", try_to(libc::SYS_userfaultfd, [none, none, none, none, 0])),
        ("perf_event_open", try_to(libc::SYS_perf_event_open, [none, none, -1, -1, 0])),
        ("keyctl", try_to(libc::SYS_keyctl, [none, -3, none, none, 0])),
        ("add_key", try_to(libc::SYS_add_key, [empty, empty, none, none, -3])),
        ("request_key", try_to(libc::SYS_request_key, [empty, empty, none, none, 0])),
        ("unshare a user namespace", try_to(libc::SYS_unshare, [new_user, none, none, none, 0])),
        ("setns", try_to(libc::SYS_setns, [-1, none, none, none, 0])),
        ("clone3", try_to(libc::SYS_clone3, [none, none, none, none, 0])),
        ("mount", try_to(libc::SYS_mount, [none, none, none, none, 0])),
        ("umount", try_to(libc::SYS_umount2, [empty, none, none, none, 0])),
        ("open_tree", try_to(libc::SYS_open_tree, [-1, empty, none, none, 0])),
        ("pivot_root", try_to(libc::SYS_pivot_root, [empty, empty, none, none, 0])),
        ("chroot", try_to(libc::SYS_chroot, [c"/".as_ptr() as c_long, none, none, none, 0])),
        ("open_by_handle_at", try_to(libc::SYS_open_by_handle_at, [-1, none, none, none, 0])),
        ("fanotify_init", try_to(libc::SYS_fanotify_init, [-1, none, none, none, 0])),
        ("init_module", try_to(libc::SYS_init_module, [none, none, empty, none, 0])),
        ("kexec_load", try_to(libc::SYS_kexec_load, [none, none, none, -1, 0])),
        ("sethostname", try_to(libc::SYS_sethostname, [none, 1, none, none, 0])),
        ("settimeofday", try_to(libc::SYS_settimeofday, [none, none, none, none, 0])),
        ("become root", try_to(libc::SYS_setuid, [none, none, none, none, 0])),
        ("take another group", try_to(libc::SYS_setgroups, [1, limit, none, none, 0])),
        ("read the kernel's log", try_to(libc::SYS_syslog, [3, empty, 1, none, 0])),
        ("a socket to the hypervisor", socket(libc::AF_VSOCK, stream, 0)),
        ("a socket of the kernel's ciphers", socket(libc::AF_ALG, libc::SOCK_SEQPACKET.into(), 0)),
        ("a packet socket", socket(libc::AF_PACKET, raw, 0)),
        ("a raw socket", socket(libc::AF_INET, raw, libc::IPPROTO_ICMP.into())),
    ]
}

fn open_for_writing(path: &str) -> io::Result<()> {
    fs::OpenOptions::new().write(true).open(path).map(|_| ())
}

fn try_to(call: c_long, [one, two, three, four, five]: [c_long; 5]) -> io::Result<()> {
    // SAFETY: every pointer among the arguments is null, or points to data that `calls` keeps until
    // its last call; the kernel checks all others and writes to none.
    let done = unsafe { libc::syscall(call, one, two, three, four, five, 0 as c_ulong) };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
