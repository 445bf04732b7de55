//! A sandbox that is made ahead of its job starts the image's shell once, before it says that it
//! is ready, and lets it do nothing. So the shell, its libraries and its locale are at hand when
//! the job comes: the file system of a container is new, and the first look at each file of it
//! takes far longer than the second. One that is made for its job gains nothing by it; it uses
//! up the number of a process instead, or `$$` would tell which it is.
//!
//! It is shut in like a job, finds nothing of the image's environment but its language, stands
//! in no folder of anybody's, and is gone before the wait begins. What it used is
//! not the job's.

use std::{
    env,
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{clock::Clock, shell::SHELLS, sys, usage::Usage};

/// A shell on a slow disk. One that takes longer is of no use as it is, and nothing is lost.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between looks at it.
const LOOK: Duration = Duration::from_millis(1);
/// What decides which files of its locale a shell reads.
const LANGUAGE: [&str; 2] = ["LANG", "LC_ALL"];
/// What jobs have where the image says nothing; the worker says the same.
const USUAL_LANGUAGE: &str = "C.UTF-8";

/// Gives back what was used of the container's allowance until then.
pub(crate) fn prime(ahead: bool, clock: &Clock) -> Usage {
    let shell = if ahead { SHELLS.iter().find_map(|(path, name)| start(path, name)) } else { None };
    match shell {
        Some(mut shell) => wait_for(&mut shell, clock),
        None => sys::use_up_a_number(),
    }
    Usage::read()
}

fn start(path: &str, name: &str) -> Option<Child> {
    let mut command = Command::new(path);
    command.arg0(name).args(["-c", ":"]).env_clear().env("LANG", USUAL_LANGUAGE);
    for name in LANGUAGE {
        if let Some(value) = env::var_os(name) {
            command.env(name, value);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    sys::start_shut_in(&mut command);
    command.spawn().ok()
}

/// It is killed when it takes too long, and reaped in every case.
fn wait_for(shell: &mut Child, clock: &Clock) {
    let until = clock.now().saturating_add(PATIENCE);
    while matches!(shell.try_wait(), Ok(None)) {
        if clock.now() >= until {
            let _ = shell.kill();
            let _ = shell.wait();
            return;
        }
        // It only ends early, and then it is asked again.
        let _ = sys::poll([], LOOK);
    }
}
