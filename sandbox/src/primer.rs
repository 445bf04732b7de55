//! A sandbox that is made ahead of its job starts the image's shell once, with nothing to do,
//! before it reports that it is ready. The file system of a new container is cold, and the first
//! access to each file takes far longer than the second; so the shell, its libraries and its locale
//! are cached when the job comes. A sandbox that is made for its job gains nothing from this. It
//! uses up one process id instead, so that `$$` does not reveal the difference.
//!
//! The shell is confined like a job, gets only the language from the image's environment, enters no
//! folder, and has ended before the wait for the job begins. Its resource usage does not count for
//! the job.

use std::{
    env,
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{clock::Clock, shell::SHELLS, sys, usage::Usage};

/// The time limit, for a shell on a slow disk. A slower one is no use, and stopping it loses
/// nothing.
const PATIENCE: Duration = Duration::from_secs(2);
/// The interval between checks of the shell.
const LOOK: Duration = Duration::from_millis(1);
/// The variables that decide which locale files a shell reads.
const LANGUAGE: [&str; 2] = ["LANG", "LC_ALL"];
/// The language of jobs if the image sets none; the worker uses the same value.
const USUAL_LANGUAGE: &str = "C.UTF-8";

/// Returns the resource usage of the container so far.
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

/// Kills the shell if it takes too long, and reaps it in every case.
fn wait_for(shell: &mut Child, clock: &Clock) {
    let until = clock.now().saturating_add(PATIENCE);
    while matches!(shell.try_wait(), Ok(None)) {
        if clock.now() >= until {
            let _ = shell.kill();
            let _ = shell.wait();
            return;
        }
        // A failure only ends the wait early; the loop checks again.
        let _ = sys::poll([], LOOK);
    }
}
