//! What only holds for a PID 1. Needs root, for a PID namespace.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command as Process, Stdio},
};

use orchestra_sandbox::protocol::{Command, Killed, Run, Status};

use tempfile::TempDir;

use crate::harness::{MILLISECOND, PROGRAM, Report, Sandbox, job};

pub(crate) const UNSHARE: [&str; 4] = ["--pid", "--fork", "--kill-child", "--mount-proc"];

/// Any user but root, as in a container.
pub(crate) const NOBODY: [&str; 3] = ["--reuid=65534", "--regid=65534", "--clear-groups"];

/// Whether namespaces can be created here. If not, this prints so, and fails where every test must
/// run.
pub(crate) fn is_possible() -> bool {
    let possible = Process::new("unshare")
        .args(UNSHARE)
        .args(["setpriv", NOBODY[0], NOBODY[1], NOBODY[2], "true"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !possible {
        println!("skipped: no PID namespace without root, unshare and setpriv");
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "nothing may be skipped");
    }
    possible
}

/// The program in a place where a user can run it who may not access the build folder.
pub(crate) fn program_for_all() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("sandbox");
    fs::copy(PROGRAM, &program).unwrap();
    (dir, program)
}

/// Starts it as PID 1 of a namespace.
pub(crate) fn start(run: Run) -> Sandbox {
    start_in(&[], run)
}

/// The same, with these variables in its environment.
fn start_in(environment: &[(&str, &str)], run: Run) -> Sandbox {
    let (_dir, program) = program_for_all();
    let mut process = Process::new("unshare");
    process.args(UNSHARE).arg("setpriv").args(NOBODY).arg(program);
    let mut sandbox = Sandbox::spawn(process.envs(environment.iter().copied()));
    sandbox.read();
    // It has started, so its file is no longer needed.
    sandbox.event();
    sandbox.send(&Command::Run(Box::new(run)));
    sandbox
}

pub(crate) fn run(run: Run) -> Report {
    start(run).finish()
}

/// Prevents a mistake here from reaching the machine's own processes.
pub(crate) const GUARD: &str = "[ $PPID = 1 ] || exit 99; ";

#[test]
fn the_job_cannot_end_or_stop_it() {
    if !is_possible() {
        return;
    }
    let signals = "for signal in KILL STOP TERM INT HUP QUIT ABRT SEGV SEGV BUS BUS CHLD PIPE ALRM \
                   USR1 USR2 TSTP 35 64; do kill -$signal 1; done; echo alive; exit 3";
    let report = run(job(&format!("{GUARD}{signals}")));
    assert_eq!((report.text().as_str(), report.code), ("alive\n", 3));
}

#[test]
fn a_job_that_kills_everything_kills_itself() {
    if !is_possible() {
        return;
    }
    // The kernel spares the process that asks for it.
    let report = run(job(&format!("{GUARD}sleep 1000 & kill -9 -1; exit 4")));
    assert_eq!((report.status(), report.exit().killed), (Status::Code(4), None));
    let report = run(job(&format!("{GUARD}bash -c 'kill -9 -1'; exit 4")));
    assert_eq!((report.status(), report.exit().killed), (Status::Signal(9), None));
    assert_eq!(report.code, 137);
}

#[test]
fn the_job_cannot_look_into_it() {
    if !is_possible() {
        return;
    }
    // The first process to be inspected is an ordinary one that hides nothing.
    let look = r#"
        look() {
            cat /proc/$1/environ >/dev/null; echo "environ $?"
            readlink /proc/$1/exe >/dev/null; echo "exe $?"
            ls /proc/$1/fd >/dev/null; echo "fd $?"
            (exec 7<>/proc/$1/mem); echo "mem $?"
            (echo >/proc/$1/fd/2); echo "write $?"
        }
        sleep 1000 2>/dev/null & look $! 2>/dev/null; echo; look 1 2>/dev/null; id -u"#;
    let report = run(job(look));
    assert_eq!(
        report.text(),
        "environ 0\nexe 0\nfd 0\nmem 0\nwrite 0\n\n\
         environ 1\nexe 1\nfd 2\nmem 1\nwrite 1\n65534\n"
    );
}

/// A sandbox made ahead has started a shell before; the other one has not.
#[test]
fn no_number_of_a_process_tells_whether_it_was_made_ahead_of_the_job() {
    if !is_possible() {
        return;
    }
    let numbers = |ahead: &[(&str, &str)]| {
        start_in(ahead, job("echo $PPID $$; sh -c 'echo $PPID $$; true'")).finish().text()
    };
    let ahead = numbers(&[("ORCHESTRA_AHEAD", "yes")]);
    assert!(ahead.starts_with("1 "), "{ahead}");
    assert_eq!(ahead, numbers(&[]));
}

#[test]
fn daemons_end_with_the_shell_and_with_their_grace() {
    if !is_possible() {
        return;
    }
    let daemon = "setsid nohup bash -c 'trap \"\" TERM; echo up; sleep 1000; sleep 1000' 2>&1 &";
    // It holds the output open, and nobody waits for it.
    let report = run(job(&format!("{daemon} read -t 1 x; exit 5")));
    assert_eq!((report.status(), report.exit().killed), (Status::Code(5), None));

    let mut sandbox = start(job(&format!("{daemon} sleep 1000; sleep 1000")));
    sandbox.wait_for("up");
    sandbox.send(&Command::Terminate { grace: 100 * MILLISECOND });
    let report = sandbox.finish();
    assert_eq!((report.status(), report.exit().killed), (Status::Signal(15), Some(Killed::Asked)));
    assert_eq!(report.notes.len(), 2);
}

#[test]
fn orphans_are_reaped_while_the_job_runs() {
    if !is_possible() {
        return;
    }
    // A zombie keeps its entry in /proc until somebody waits for it.
    let script = "pid=$(sh -c 'sleep 0 >/dev/null & echo $!'); \
                  while [ -e /proc/$pid ]; do :; done; echo gone";
    assert_eq!(run(job(script)).text(), "gone\n");
}
