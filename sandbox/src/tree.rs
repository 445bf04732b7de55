//! The processes of a job: all that there are beside this program, which is
//! PID 1 or, in tests, an ordinary process that adopts its orphans.

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

    /// Every process has ended and was reaped: orphans were adopted, so there is none elsewhere.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Takes in what has ended, without waiting.
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

    /// To every process. The kernel does it in one go: no fork slips through.
    pub(crate) fn signal(&self, signal: Signal) {
        if process::id() == 1 {
            sys::kill(-1, signal);
            return;
        }
        if self.status.is_none() {
            sys::kill(-self.shell, signal);
        }
        // What left the group comes into reach here as soon as its parent has ended.
        // The group's own are here too, and must not be asked twice.
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
