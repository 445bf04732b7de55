//! What a job with the same uid tries against its PID 1: to inspect it, to kill it and to starve
//! it. (Forged frames are in `running.rs`.) Needs root, for a PID namespace.

use std::{process::Command as Process, time::Duration};

use orchestra_sandbox::protocol::{Killed, Lease, Run, Status};

use crate::{
    harness::job,
    pid_one::{GUARD, NOBODY, UNSHARE, is_possible, program_for_all, run},
};

/// The report of the program when it runs as a job (`sandbox/src/attempt.rs`).
fn attempts(text: &str) -> Vec<(&str, &str)> {
    let text = text.strip_suffix("that is all\n").expect("it came to its end");
    text.lines().map(|line| line.rsplit_once(": ").expect("an attempt and its fate")).collect()
}

#[test]
fn what_a_job_must_not_do_is_refused() {
    if !is_possible() {
        return;
    }
    let (_dir, program) = program_for_all();
    let report = run(job(&format!("{GUARD}{} --attempt", program.display())));
    let text = report.text();
    let attempts = attempts(&text);
    assert!(attempts.len() > 40, "{text}");
    let allowed: Vec<_> = attempts.iter().filter(|(_, fate)| *fate != "refused").collect();
    assert!(allowed.is_empty(), "{allowed:?}");
}

/// The counterpart without a sandbox: it shows that the sandbox is what refuses the attempts.
#[test]
fn without_a_sandbox_it_would_not_be_refused() {
    if !is_possible() {
        return;
    }
    let (_dir, program) = program_for_all();
    let script = format!("{} --attempt; exit", program.display());
    let mut process = Process::new("unshare");
    let process = process.args(UNSHARE).arg("setpriv").args(NOBODY).args(["sh", "-c", &script]);
    let output = process.output().expect("it could be run a moment ago");
    let text = String::from_utf8(output.stdout).unwrap();
    let attempts = attempts(&text);
    for name in [
        "trace PID 1",
        "read the environment of PID 1",
        "limit PID 1",
        "renice PID 1",
        "renice the group of PID 1",
        "renice the user of PID 1",
        "idle PID 1",
        "set a priority of PID 1",
        "bind PID 1 to a core",
        "slow the disk of PID 1",
        "clone3",
    ] {
        assert!(attempts.contains(&(name, "ALLOWED")), "{name}: {text}");
    }
}

#[test]
fn no_signal_of_any_number_reaches_it() {
    if !is_possible() {
        return;
    }
    // The kernel spares the process that signals everybody.
    let signals = "all=$(seq 1 64); for s in $all; do kill -$s 1; kill -$s -1; done 2>/dev/null; \
                   echo alive; exit 3";
    let report = run(job(&format!("{GUARD}{signals}")));
    assert_eq!((report.text().as_str(), report.code), ("alive\n", 3));
}

#[test]
fn limits_and_priorities_can_still_be_set_for_the_job_itself() {
    if !is_possible() {
        return;
    }
    let script = "ulimit -n 100 && renice -n 5 $$ >/dev/null && taskset -p -c 0 $$ >/dev/null && \
                  ionice -c 3 -p $$ && prlimit --core=0 --pid $$ && nice; ulimit -n";
    assert_eq!(run(job(&format!("{GUARD}{script}"))).text(), "5\n100\n");
}

#[test]
fn the_fence_comes_in_time_though_the_job_takes_all_of_the_processor() {
    if !is_possible() {
        return;
    }
    let ttl = Duration::from_secs(1);
    let busy = "for i in {1..100}; do while :; do :; done & done; while :; do :; done";
    let report = run(Run { lease: Lease::of(ttl), ..job(&format!("{GUARD}{busy}")) });
    assert_eq!((report.status(), report.exit().killed), expired());
    // Two cores are shared by a hundred and one processes, and by other tests.
    assert!(report.exit().wall < ttl * 10, "{report:?}");
}

fn expired() -> (Status, Option<Killed>) {
    (Status::Signal(9), Some(Killed::LeaseExpired))
}

#[test]
fn closing_every_descriptor_closes_none_of_its_own() {
    if !is_possible() {
        return;
    }
    let script = "for fd in {0..255}; do eval \"exec $fd>&-\"; done; exit 6";
    let report = run(job(&format!("{GUARD}{script}")));
    assert_eq!((report.code, report.status()), (6, Status::Code(6)));
}
