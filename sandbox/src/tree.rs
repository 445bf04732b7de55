//! The processes of a job: all processes in the container except this program. It is PID 1 or, in
//! tests, an ordinary process that adopts its orphans.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    process::{self, ExitStatus},
};

use orchestra_sandbox::protocol::Status;

use crate::sys::{self, Reaped, Signal};

#[derive(Debug)]
pub(crate) struct Tree {
    shell: i32,
    status: Option<Status>,
    gone: bool,
}

impl Tree {
    pub(crate) fn new(shell: u32) -> Self {
        Self { shell: shell as i32, status: None, gone: false }
    }

    /// How the shell ended, if it has.
    pub(crate) fn status(&self) -> Option<Status> {
        self.status
    }

    /// Whether every process has ended and was reaped. Orphans are adopted, so there are none
    /// elsewhere.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Reaps everything that has ended, without waiting.
    pub(crate) fn reap(&mut self) {
        loop {
            match sys::reap() {
                Reaped::Child(pid, status) if pid == self.shell => {
                    self.status = Some(status_of(status));
                }
                Reaped::Child(..) => {}
                Reaped::NoneYet => return,
                Reaped::NoneLeft => {
                    self.gone = true;
                    return;
                }
            }
        }
    }

    /// Signals every process. The kernel does this atomically, so no fork escapes.
    pub(crate) fn signal(&self, signal: Signal) {
        if process::id() == 1 {
            sys::kill(-1, signal);
            return;
        }
        if self.status.is_none() {
            sys::kill(-self.shell, signal);
        }
        // A process that left the group becomes a child of this program when its parent ends.
        // Children in the group are listed too and must not get SIGTERM twice.
        if signal == Signal::Kill {
            let children = fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
            for child in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
                sys::kill(child, signal);
            }
        }
    }
}

fn status_of(status: ExitStatus) -> Status {
    match (status.code(), status.signal()) {
        (Some(code), _) => Status::Code(code as u8),
        (None, signal) => Status::Signal(signal.unwrap_or_default() as u8),
    }
}
