//! The system calls that a job may not make, whatever the engine's own profile allows. Engines
//! differ, and no engine's profile knows that PID 1 has the job's uid.
//!
//! * Calls on PID 1 itself: the kernel lets a uid lower the priorities and limits of all its
//!   processes, including undumpable ones (`setpriority(2)`, `sched(7)`, `prlimit(2)`). A job could
//!   starve its PID 1 until the end of the lease is noticed late, or have the kernel kill it
//!   (`RLIMIT_CPU`), which looks the same as a lost machine.
//! * Calls that jobs have no use for and kernels have had vulnerabilities in: other ABIs,
//!   `io_uring`, BPF, keyrings, user namespaces, mounts, unusual socket families. `AF_VSOCK` is
//!   among those, because it reaches the machine's hypervisor from an empty network namespace.
//!
//! The program is a list of comparisons (`seccomp(2)`); the first match decides. The kernel caches
//! which calls are always allowed, so those cost nothing.

use libc::{c_long, sock_filter};

/// Offsets in [`libc::seccomp_data`].
const NUMBER: u32 = 0;
const ABI: u32 = 4;
const ARGUMENTS: u32 = 16;

/// `AUDIT_ARCH_X86_64` and so on (`linux/audit.h`): the ABI of this program.
#[cfg(target_arch = "x86_64")]
const OWN_ABI: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const OWN_ABI: u32 = 0xc000_00b7;

/// Numbers of the x32 ABI start here; no other numbers are that high.
const X32: u32 = 0x4000_0000;

/// The namespace flags of `clone(2)`, without the one for time namespaces, whose bit means
/// something else there.
const NEW_NAMESPACE: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;

const IOPRIO_WHO_USER: u32 = 3;

/// Refused with EPERM, whatever the arguments.
const NEVER: &[c_long] = &[
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_bpf,
    libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_quotactl,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
];

/// The allowed socket families.
const FAMILIES: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// The filter for a job's processes, which protects PID 1 (in tests: the process `own`, which leads
/// the process group `group`).
pub(crate) fn program(own: u32, group: u32) -> Vec<sock_filter> {
    let mut program = Program(Vec::new());
    program.load(ABI);
    program.unless_equal(OWN_ABI, libc::ENOSYS);
    program.load(NUMBER);
    program.when(libc::BPF_JGE, X32, libc::ENOSYS);
    for &call in NEVER {
        program.when(libc::BPF_JEQ, call as u32, libc::EPERM);
    }
    // The flags of `clone3` are in memory, where a filter cannot read them. C libraries fall back
    // to `clone`.
    program.when(libc::BPF_JEQ, libc::SYS_clone3 as u32, libc::ENOSYS);
    program.call(libc::SYS_clone, &[(0, Test::AnyBit(NEW_NAMESPACE))]);
    let is_own = |argument| (argument, Test::Is(own));
    for call in [
        libc::SYS_prlimit64,
        libc::SYS_sched_setscheduler,
        libc::SYS_sched_setparam,
        libc::SYS_sched_setattr,
        libc::SYS_sched_setaffinity,
    ] {
        program.call(call, &[is_own(0)]);
    }
    let every = |user| [(0, Test::Is(user)), is_own(1), (1, Test::Is(group))];
    program.call(libc::SYS_setpriority, &every(libc::PRIO_USER));
    program.call(libc::SYS_ioprio_set, &every(IOPRIO_WHO_USER));
    for call in [libc::SYS_socket, libc::SYS_socketpair] {
        program.call(call, &[(0, Test::IsNone(&FAMILIES))]);
    }
    program.give(libc::SECCOMP_RET_ALLOW);
    program.0
}

/// The condition on an argument under which the call is refused.
#[derive(Clone, Copy)]
enum Test {
    Is(u32),
    AnyBit(u32),
    IsNone(&'static [i32]),
}

struct Program(Vec<sock_filter>);

impl Program {
    fn put(&mut self, code: u32, k: u32, (jt, jf): (u8, u8)) {
        self.0.push(sock_filter { code: code as u16, jt, jf, k });
    }

    /// Loads the word at this offset. For longer values that is the lower half, which is enough:
    /// all compared values are `int`s.
    fn load(&mut self, at: u32) {
        self.put(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at, (0, 0));
    }

    fn give(&mut self, what: u32) {
        self.put(libc::BPF_RET | libc::BPF_K, what, (0, 0));
    }

    fn refuse(&mut self, error: i32) {
        self.give(libc::SECCOMP_RET_ERRNO | error as u32);
    }

    /// Refuses if the loaded word matches this comparison.
    fn when(&mut self, compares: u32, with: u32, error: i32) {
        self.put(libc::BPF_JMP | libc::BPF_K | compares, with, (0, 1));
        self.refuse(error);
    }

    fn unless_equal(&mut self, to: u32, error: i32) {
        self.put(libc::BPF_JMP | libc::BPF_K | libc::BPF_JEQ, to, (1, 0));
        self.refuse(error);
    }

    /// Refuses this call with EPERM if one of the tests matches. The call number is loaded before
    /// and after.
    fn call(&mut self, number: c_long, tests: &[(u32, Test)]) {
        let mut body = Self(Vec::new());
        for &(argument, test) in tests {
            // Little-endian: the lower half comes first.
            body.load(ARGUMENTS + 8 * argument);
            match test {
                Test::Is(value) => body.when(libc::BPF_JEQ, value, libc::EPERM),
                Test::AnyBit(bits) => body.when(libc::BPF_JSET, bits, libc::EPERM),
                Test::IsNone(values) => {
                    for (left, &value) in (1..=values.len() as u8).rev().zip(values) {
                        body.put(
                            libc::BPF_JMP | libc::BPF_K | libc::BPF_JEQ,
                            value as u32,
                            (left, 0),
                        );
                    }
                    body.refuse(libc::EPERM);
                }
            }
        }
        body.load(NUMBER);
        let past = body.0.len() as u8;
        self.put(libc::BPF_JMP | libc::BPF_K | libc::BPF_JEQ, number as u32, (0, past));
        self.0.append(&mut body.0);
    }
}
