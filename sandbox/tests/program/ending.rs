//! A job that is made to end, and what it leaves behind.

use std::{fs, mem, path::Path, process::Command as Process, time::Duration};

use orchestra_sandbox::protocol::{Command, Killed, Run, Status};

use crate::harness::{HOUR, MILLISECOND, PROGRAM, Sandbox, job, job_in, run};

/// A loop without a child process, so only the shell gets SIGTERM and its trap runs at once.
const SPIN: &str = "while :; do :; done";

#[test]
fn a_timeout_asks_first() {
    let timeout = Duration::from_millis(200);
    let report = run(Run { timeout, ..job(&format!("trap 'echo bye; exit 7' TERM; {SPIN}")) });
    assert_eq!((report.status(), report.exit().killed), (Status::Code(7), Some(Killed::TimedOut)));
    assert_eq!(report.text(), "bye\n");
    assert_eq!(report.notes, ["timed out after 200ms: sent SIGTERM, SIGKILL follows after 3600s"]);
    assert!(report.exit().wall >= timeout, "{report:?}");
}

#[test]
fn a_timeout_kills_what_does_not_listen() {
    let (timeout, grace) = (100 * MILLISECOND, 100 * MILLISECOND);
    let report = run(Run { timeout, grace, ..job("trap '' TERM; sleep 60; sleep 60") });
    assert_eq!(report.status(), Status::Signal(9));
    assert_eq!((report.exit().killed, report.code), (Some(Killed::TimedOut), 137));
    assert_eq!(
        report.notes,
        [
            "timed out after 100ms: sent SIGTERM, SIGKILL follows after 100ms",
            "the grace time is over: sent SIGKILL"
        ]
    );
    assert!(report.exit().wall >= timeout + grace, "{report:?}");
}

#[test]
fn a_stopped_shell_times_out() {
    let report = run(Run { timeout: 100 * MILLISECOND, ..job("kill -STOP $$; echo awake") });
    assert_eq!(report.exit().killed, Some(Killed::TimedOut));
    assert_eq!((report.status(), report.text().as_str()), (Status::Signal(15), ""));
}

#[test]
fn terminate_asks_and_the_shell_may_clean_up() {
    let mut sandbox =
        Sandbox::start(job(&format!("trap 'echo bye; exit 0' TERM; echo up; {SPIN}")));
    sandbox.wait_for("up");
    sandbox.send(&Command::Terminate { grace: HOUR });
    let report = sandbox.finish();
    assert_eq!((report.status(), report.text().as_str()), (Status::Code(0), "bye\n"));
    assert_eq!(report.exit().killed, Some(Killed::Asked));
    assert_eq!(report.notes, ["asked to end: sent SIGTERM, SIGKILL follows after 3600s"]);
}

#[test]
fn a_child_keeps_its_grace_though_the_shell_does_not_wait_for_it() {
    // The child notices the end of the shell and still has work to do.
    let cleanup = "while [ -e /proc/$SHELL_PID ]; do :; done; echo cleaned; exit";
    let child = format!("trap \"{cleanup}\" TERM; echo up; {SPIN}");
    let mut sandbox =
        Sandbox::start(job(&format!("export SHELL_PID=$$; bash -c '{child}'; exit 1")));
    sandbox.wait_for("up");
    sandbox.send(&Command::Terminate { grace: HOUR });
    let report = sandbox.finish();
    assert_eq!((report.status(), report.text().as_str()), (Status::Signal(15), "cleaned\n"));
}

#[test]
fn a_shell_that_ends_by_itself_takes_the_others_along_in_the_grace_time_too() {
    let deaf = "bash -c 'trap \"\" TERM; echo up; sleep 1000' &";
    let mut sandbox = Sandbox::start(job(&format!("trap 'exit 0' TERM; {deaf} wait")));
    sandbox.wait_for("up");
    sandbox.send(&Command::Terminate { grace: HOUR });
    let report = sandbox.finish();
    assert_eq!((report.status(), report.notes.len()), (Status::Code(0), 1));
}

#[test]
fn a_second_terminate_shortens_the_grace() {
    let mut sandbox = Sandbox::start(job("trap '' TERM; echo up; sleep 60; sleep 60"));
    sandbox.wait_for("up");
    sandbox.send(&Command::Terminate { grace: HOUR });
    sandbox.send(&Command::Terminate { grace: MILLISECOND });
    let report = sandbox.finish();
    assert_eq!((report.status(), report.notes.len()), (Status::Signal(9), 2));
}

#[test]
fn kill_ends_at_once() {
    let mut sandbox = Sandbox::start(job("trap '' TERM; echo up; sleep 60; sleep 60"));
    sandbox.wait_for("up");
    sandbox.send(&Command::Kill);
    let report = sandbox.finish();
    assert_eq!((report.status(), report.code), (Status::Signal(9), 137));
    assert_eq!(report.exit().killed, Some(Killed::Asked));
    assert_eq!(report.notes, ["asked to end at once: sent SIGKILL"]);
}

fn is_alive(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}

#[test]
fn what_runs_in_the_background_ends_with_the_shell() {
    // In the shell's group, outside it, and an orphan's orphan.
    for start in ["sleep 1000 & echo $!", "setsid sleep 1000 & echo $!"] {
        let report = run(job(start));
        assert_eq!((report.status(), report.exit().killed), (Status::Code(0), None), "{start}");
        assert!(!is_alive(report.text().trim()), "{start}");
    }
}

#[test]
fn a_daemon_ends_with_the_shell() {
    let dir = tempfile::tempdir().unwrap();
    // Forked twice, in its own session, and ignoring SIGTERM.
    let daemon = "(setsid nohup bash -c 'trap \"\" TERM; echo $$ > pid; sleep 1000' &)";
    let script = format!("{daemon} >/dev/null 2>&1; until [ -s pid ]; do :; done; cat pid; exit 5");
    let report = run(job_in(dir.path(), &script));
    assert_eq!((report.status(), report.exit().killed), (Status::Code(5), None));
    assert!(!is_alive(report.text().trim()));
}

#[test]
fn what_a_background_process_wrote_before_the_end_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let script = "{ echo late; touch written; sleep 1000; } & until [ -e written ]; do :; done";
    assert_eq!(run(job_in(dir.path(), script)).text(), "late\n");
}

/// While the worker reads nothing, the job fills its pipe until it can write no more.
#[test]
fn what_stands_in_a_full_pipe_at_the_end_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let number = |file: &str| -> Option<usize> {
        fs::read_to_string(dir.path().join(file)).ok()?.trim().parse().ok()
    };
    let mut sandbox = Sandbox::spawn(&mut Process::new(PROGRAM));
    let line = "printf '%01023d\\n' $i";
    let script = format!("echo $$ >pid; i=0; while {line}; do i=$((i+1)); echo $i >count; done");
    sandbox.send(&Command::Run(Box::new(job_in(dir.path(), &script))));
    let (mut before, mut written) = (None, None);
    while written.is_none() || written != before {
        assert!(!sandbox.ends_within(500 * MILLISECOND));
        before = mem::replace(&mut written, number("count"));
    }
    sandbox.send(&Command::Kill);
    let shell = format!("/proc/{}", number("pid").unwrap());
    while Path::new(&shell).exists() {
        assert!(!sandbox.ends_within(MILLISECOND), "nobody has heard its last words");
    }
    sandbox.read();
    let report = sandbox.finish();
    assert_eq!(report.status(), Status::Signal(9));
    assert_eq!(Some(report.text().lines().count()), written);
}

#[test]
fn what_is_no_command_ends_the_job() {
    let mut second = Vec::new();
    let command = Command::Run(Box::new(job("true")));
    orchestra_sandbox::protocol::Message::encode(&command, &mut second);
    let cases: [(&[u8], &str); 2] = [
        (
            b"\x63\0\0\0\0\n",
            "the worker sent something that is no command: there is no frame kind 99",
        ),
        (&second, "the worker sent a second job"),
    ];
    for (bytes, reason) in cases {
        let mut sandbox = Sandbox::start(job("echo up; sleep 60; sleep 60"));
        sandbox.wait_for("up");
        sandbox.send_bytes(bytes);
        let report = sandbox.finish();
        assert_eq!((report.code, report.failed.as_deref()), (125, Some(reason)));
        assert_eq!(report.notes, [format!("{reason}: sent SIGKILL")]);
    }
}
