//! The fence: no job outlives its lease, whatever happens to the worker.

use std::{fs, process::Command as Process, time::Duration};

use orchestra_sandbox::protocol::{Command, Event, Killed, Lease, Run, Status};

use crate::harness::{HOUR, MILLISECOND, PROGRAM, Report, Sandbox, job, job_in, run};

fn assert_expired(report: &Report) {
    assert_eq!((report.status(), report.code), (Status::Signal(9), 137));
    assert_eq!(report.exit().killed, Some(Killed::LeaseExpired));
    assert_eq!(report.notes, ["no word from the worker, the lease is over: sent SIGKILL"]);
}

#[test]
fn without_a_word_the_job_is_killed() {
    let ttl = Duration::from_millis(200);
    let report = run(Run { lease: Lease::of(ttl), ..job("trap '' TERM; sleep 60; sleep 60") });
    assert_expired(&report);
    assert!(report.exit().wall >= ttl / 2, "{report:?}");
}

#[test]
fn renewing_puts_it_off() {
    let mut sandbox = Sandbox::spawn(&mut Process::new(PROGRAM));
    sandbox.read();
    sandbox.send(&Command::Run(Box::new(Run {
        lease: Lease::of(Duration::from_secs(1)),
        ..job("sleep 1.5; echo alive")
    })));
    sandbox.send(&Command::Renew(Lease::of(HOUR)));
    let report = sandbox.finish();
    assert_eq!((report.code, report.text().as_str()), (0, "alive\n"));
}

#[test]
fn renewing_counts_from_then_on() {
    let mut sandbox = Sandbox::start(job("echo up; sleep 60; sleep 60"));
    sandbox.wait_for("up");
    sandbox.send(&Command::Renew(Lease::of(MILLISECOND)));
    assert_expired(&sandbox.finish());
}

/// Time since the machine's boot, to 10 ms (`proc(5)`).
fn since_boot() -> Duration {
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    Duration::from_secs_f64(uptime.split_whitespace().next().unwrap().parse().unwrap())
}

#[test]
fn what_was_held_up_on_its_way_lengthens_nothing() {
    let mut sandbox = Sandbox::start(job("echo up; sleep 60; sleep 60"));
    sandbox.wait_for("up");
    // The job has an hour, but this renewal is older than a second.
    let lease = Lease { ttl: HOUR, until: Some(since_boot().saturating_sub(MILLISECOND * 1000)) };
    sandbox.send(&Command::Renew(lease));
    assert!(!sandbox.ends_within(Duration::from_millis(300)), "it was overtaken, no more");
    sandbox.send(&Command::Renew(Lease::of(Duration::from_millis(1))));
    assert_expired(&sandbox.finish());
}

#[test]
fn a_lease_ends_when_it_was_said_to_however_late_that_was_heard() {
    let time = Duration::from_secs(1);
    let end = |after| Lease { ttl: HOUR, until: Some(since_boot() + after) };
    // Both were delayed for an hour less one second, or two.
    let mut sandbox = Sandbox::start(Run { lease: end(time), ..job("sleep 60; sleep 60") });
    sandbox.send(&Command::Renew(end(time * 2)));
    let report = sandbox.finish();
    assert_expired(&report);
    assert!(report.exit().wall > time && report.exit().wall < time * 10, "{report:?}");
    // A lease that is over when it arrives is over.
    let over = Lease { ttl: HOUR, until: Some(MILLISECOND) };
    assert_expired(&run(Run { lease: over, ..job("sleep 60; sleep 60") }));
}

#[test]
fn a_job_goes_on_without_its_worker_and_no_longer_than_the_lease() {
    let dir = tempfile::tempdir().unwrap();
    let mut sandbox =
        Sandbox::start(job_in(dir.path(), "echo up; until [ -e go ]; do :; done; echo done"));
    sandbox.wait_for("up");
    sandbox.hang_up();
    fs::write(dir.path().join("go"), "").unwrap();
    let report = sandbox.finish();
    assert_eq!((report.code, report.text().as_str()), (0, "done\n"));

    let ttl = Duration::from_millis(500);
    let mut sandbox = Sandbox::start(Run { lease: Lease::of(ttl), ..job("sleep 60; sleep 60") });
    sandbox.hang_up();
    assert_expired(&sandbox.finish());
}

#[test]
fn a_reader_that_stands_still_does_not_put_it_off() {
    for script in ["yes; yes", "while :; do echo out; echo err >&2; done"] {
        let mut sandbox = Sandbox::spawn(&mut Process::new(PROGRAM));
        let ttl = Duration::from_millis(500);
        sandbox.send(&Command::Run(Box::new(Run { lease: Lease::of(ttl), ..job(script) })));
        // Nobody reads, but the process ends all the same.
        assert_eq!(sandbox.exit_code(), 137);
    }
}

#[test]
fn a_slow_reader_gets_everything_while_the_lease_lasts() {
    let mut sandbox = Sandbox::start(job("yes | head -c 3000000"));
    // The reader takes a few frames and then stops. The connection fills up until the job is held
    // up, and the rest comes when the reader continues.
    assert!(matches!(sandbox.event(), Some(Event::Ready(_))));
    sandbox.send(&Command::Renew(Lease::of(HOUR)));
    let report = sandbox.finish();
    assert_eq!((report.code, report.stdout.len()), (0, 3_000_000));
}

#[test]
fn an_idle_one_ends_by_itself() {
    let mut sandbox = Sandbox::spawn(Process::new(PROGRAM).env("ORCHESTRA_IDLE_MS", "50"));
    assert_eq!(sandbox.exit_code(), 0);
}

#[test]
fn an_idle_one_waits_as_long_as_it_is_told() {
    let mut sandbox = Sandbox::spawn(Process::new(PROGRAM).env("ORCHESTRA_IDLE_MS", "3600000"));
    sandbox.send(&Command::Renew(Lease::of(MILLISECOND)));
    assert_eq!(sandbox.exit_code(), 0);

    // Its own idle limit is over when the job comes.
    let mut sandbox = Sandbox::spawn(Process::new(PROGRAM).env("ORCHESTRA_IDLE_MS", "1000"));
    sandbox.send(&Command::Renew(Lease::of(HOUR)));
    sandbox.read();
    assert!(!sandbox.ends_within(Duration::from_millis(1500)));
    sandbox.send(&Command::Run(Box::new(job("echo hello"))));
    assert_eq!(sandbox.finish().text(), "hello\n");
}

/// What a sandbox does in advance is no part of its job: neither its time nor its end.
#[test]
fn the_shell_that_was_started_before_the_job_is_no_part_of_it() {
    let ahead = || Sandbox::spawn(Process::new(PROGRAM).env("ORCHESTRA_AHEAD", "yes"));
    let mut sandbox = ahead();
    sandbox.read();
    sandbox.send(&Command::Run(Box::new(job("echo hello; env; exit 7"))));
    let report = sandbox.finish();
    assert_eq!(report.status(), Status::Code(7));
    assert!(report.text().starts_with("hello\n"), "{}", report.text());
    assert!(!report.text().contains("AHEAD"), "{}", report.text());

    // It takes its time for a shell before it reports that it is ready, and reaps it.
    let mut sandbox = ahead();
    sandbox.read();
    assert!(matches!(sandbox.event(), Some(Event::Ready(_))));
    sandbox.send(&Command::Run(Box::new(job("ps -o pid= --ppid $PPID | wc -l"))));
    assert_eq!(sandbox.finish().text().trim(), "1");
}

#[test]
fn an_idle_one_ends_when_it_is_not_wanted() {
    for command in [Command::Kill, Command::Terminate { grace: HOUR }] {
        let mut sandbox = Sandbox::spawn(&mut Process::new(PROGRAM));
        sandbox.send(&command);
        assert_eq!(sandbox.exit_code(), 0);
    }
    let mut sandbox = Sandbox::spawn(&mut Process::new(PROGRAM));
    sandbox.hang_up();
    assert_eq!(sandbox.exit_code(), 0);
}

#[test]
fn an_idle_one_refuses_nonsense() {
    let mut sandbox = Sandbox::spawn(&mut Process::new(PROGRAM));
    sandbox.read();
    sandbox.send_bytes(b"GET / HTTP/1.1\r\n\r\n");
    assert!(matches!(sandbox.event(), Some(Event::Ready(_))));
    let report = sandbox.finish();
    let reason = report.failed.as_deref().expect("it fails");
    assert!(reason.starts_with("the worker sent something that is no command: "), "{reason}");
    assert_eq!(report.code, 125);
}
