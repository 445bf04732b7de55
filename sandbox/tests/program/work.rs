//! The working folder: input files, changes and artifacts.

use std::{fs, os::unix::fs::symlink, path::Path, time::Instant};

use orchestra_sandbox::protocol::{Changes, Command, File, Killed, Lease, Run, Status};

use crate::harness::{HOUR, MILLISECOND, PROGRAM, Report, Sandbox, job_in};

fn watched(dir: &Path, script: &str) -> Run {
    let artifacts = vec![b"out/*".to_vec(), b"**/report.xml".to_vec()];
    Run { change_limit: 1000, artifact_limit: 1000, artifacts, ..job_in(dir, script) }
}

fn file(path: &str, bytes: &[u8]) -> File {
    File { path: path.into(), executable: false, more: false, bytes: bytes.to_vec() }
}

fn run_with(files: Vec<File>, run: Run) -> Report {
    Sandbox::start_with(files, run).finish()
}

fn texts(paths: &[Vec<u8>]) -> Vec<&str> {
    paths.iter().map(|path| std::str::from_utf8(path).unwrap()).collect()
}

fn found(report: &Report) -> Vec<(&str, u64)> {
    let artifacts = report.artifacts.as_ref().expect("it says what it found");
    let of = |file: &orchestra_sandbox::protocol::Artifact| file.bytes;
    let paths = artifacts.files.iter().map(|file| std::str::from_utf8(&file.path).unwrap());
    paths.zip(artifacts.files.iter().map(of)).collect()
}

#[test]
fn files_are_there_before_the_command_and_changes_and_artifacts_after_it() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("old"), "old").unwrap();
    let all: Vec<u8> = (0..=255).collect();
    let files = vec![
        file("data/all", &all),
        File { executable: true, ..file("run", b"#!/bin/sh\ncat data/all\n") },
        // The same length, and changed at once: only its time differs.
        file("edited", b"1\n"),
    ];
    let script = "echo 2 > edited; umask; stat -c %a data/all run; ./run
                  mkdir -p out; echo 12345 > out/a; rm old; : > out/b; sleep 1000 >> out/b & exit 3";
    let report = run_with(files, watched(dir.path(), script));
    assert_eq!(report.status(), Status::Code(3), "{report:?}");
    assert_eq!(report.stdout, [b"0022\n644\n755\n", &all[..]].concat());
    let changes = report.changes.clone().unwrap();
    assert_eq!(texts(&changes.created), ["out", "out/a", "out/b"]);
    assert_eq!(texts(&changes.modified), ["edited"]);
    assert_eq!((texts(&changes.deleted), changes.incomplete), (vec!["old"], false));
    assert_eq!(found(&report), [("out/a", 6), ("out/b", 0)]);
}

#[test]
fn a_file_that_a_link_would_lead_away_ends_the_job_before_it_begins() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    symlink(outside.path(), dir.path().join("evil")).unwrap();
    for path in ["evil/x", "../x", "evil"] {
        let files = vec![file("first", b"x"), file(path, b"x")];
        let report = run_with(files, watched(dir.path(), "touch ran"));
        if path == "evil" {
            assert!(dir.path().join("ran").exists(), "the link itself is replaced");
            continue;
        }
        let reason = report.failed.expect("it fails");
        let expected = format!("the file {path} cannot be put into the working folder: ");
        assert!(reason.starts_with(&expected), "{reason}");
        assert!(!dir.path().join("ran").exists());
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn it_is_told_however_the_job_ended() {
    let dir = tempfile::tempdir().unwrap();
    let script = "mkdir -p out; echo x > out/a; echo up; sleep 1000; sleep 1000";
    let ends: [(Run, Option<Command>, Killed); 3] = [
        (Run { timeout: 300 * MILLISECOND, ..watched(dir.path(), script) }, None, Killed::TimedOut),
        (watched(dir.path(), script), Some(Command::Kill), Killed::Asked),
        (watched(dir.path(), script), Some(Command::Terminate { grace: HOUR }), Killed::Asked),
    ];
    for (run, command, killed) in ends {
        let mut sandbox = Sandbox::start(run);
        if let Some(command) = command {
            sandbox.wait_for("up");
            sandbox.send(&command);
        }
        let report = sandbox.finish();
        assert_eq!(report.exit().killed, Some(killed));
        assert_eq!(found(&report), [("out/a", 2)], "{killed:?}");
    }
}

#[test]
fn nobody_looks_for_a_job_whose_lease_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let run = Run { lease: Lease::of(300 * MILLISECOND), ..watched(dir.path(), "sleep 1000") };
    let report = run_with(vec![], run);
    assert_eq!(report.exit().killed, Some(Killed::LeaseExpired));
    assert_eq!((report.changes, report.artifacts), (None, None));
}

#[test]
fn nothing_is_told_that_nobody_wants() {
    let dir = tempfile::tempdir().unwrap();
    let report = run_with(vec![], job_in(dir.path(), "mkdir out; touch out/a"));
    assert_eq!((report.changes.clone(), report.artifacts.clone()), (None, None));
    let only = Run { artifacts: vec![], ..watched(dir.path(), "true") };
    let report = run_with(vec![], only);
    assert_eq!((report.changes, report.artifacts), (Some(Changes::default()), None));
}

#[test]
fn a_file_too_many_is_a_fault_and_so_is_one_before_the_job() {
    let dir = tempfile::tempdir().unwrap();
    let mut sandbox = Sandbox::start(job_in(dir.path(), "echo up; sleep 1000"));
    sandbox.wait_for("up");
    sandbox.send(&Command::File(file("late", b"x")));
    let report = sandbox.finish();
    assert_eq!(report.failed.as_deref(), Some("the worker sent a file too many"));

    let mut sandbox = Sandbox::spawn(&mut std::process::Command::new(PROGRAM));
    sandbox.read();
    sandbox.send(&Command::File(file("early", b"x")));
    let report = sandbox.finish();
    assert_eq!(report.failed.as_deref(), Some("the worker sent a file before the job"));
}

/// Larger than any frame, and than the program could hold in memory.
#[test]
#[expect(clippy::disallowed_methods, reason = "there is no executor here")]
fn a_large_file_arrives_in_pieces_while_the_lease_is_renewed() {
    let dir = tempfile::tempdir().unwrap();
    let mut sandbox = Sandbox::spawn(&mut std::process::Command::new(PROGRAM));
    sandbox.read();
    let run = job_in(dir.path(), "wc -c < large; head -c 1 large; tail -c 1 large");
    let lease = Lease::of(400 * MILLISECOND);
    sandbox.send(&Command::Run(Box::new(Run { files: 2, lease, ..run })));
    let piece = |byte| File { more: true, ..file("large", &vec![byte; 1 << 20]) };
    for place in 0..40 {
        sandbox.send(&Command::File(piece(if place == 0 { b'a' } else { b'b' })));
        std::thread::sleep(20 * MILLISECOND);
        sandbox.send(&Command::Renew(lease));
    }
    sandbox.send(&Command::File(file("large", b"c")));
    // The command does not start before all files have arrived.
    sandbox.send(&Command::Renew(Lease::of(HOUR)));
    sandbox.send(&Command::File(file("small", b"")));
    let report = sandbox.finish();
    assert_eq!(report.status(), Status::Code(0), "{report:?}");
    assert_eq!(report.stdout, format!("{}\nac", (40 << 20) + 1).into_bytes());
}

#[test]
fn files_that_do_not_arrive_end_the_job_with_its_lease() {
    let dir = tempfile::tempdir().unwrap();
    let run = || Run { files: 2, ..job_in(dir.path(), "touch ran") };
    let begun = File { more: true, ..file("half", b"x") };
    let short = Run { lease: Lease::of(300 * MILLISECOND), ..run() };
    let ends = [(short, None), (run(), Some(Command::Kill))];
    for (run, command) in ends {
        let mut sandbox = Sandbox::spawn(&mut std::process::Command::new(PROGRAM));
        sandbox.read();
        sandbox.send(&Command::Run(Box::new(run)));
        sandbox.send(&Command::File(begun.clone()));
        let expected = if command.is_some() { "it was ended while" } else { "did not arrive" };
        if let Some(command) = &command {
            sandbox.send(command);
        }
        let reason = sandbox.finish().failed.expect("it fails");
        assert!(reason.contains(expected), "{reason}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left of it");
    }
}

/// However large the folder, a scan takes only a bounded time.
#[test]
fn a_folder_without_end_is_looked_at_for_a_bounded_time() {
    let dir = tempfile::tempdir().unwrap();
    for folder in 0..40 {
        let folder = dir.path().join(folder.to_string());
        fs::create_dir(&folder).unwrap();
        for file in 0..500 {
            fs::write(folder.join(file.to_string()), "").unwrap();
        }
    }
    let begun = Instant::now();
    let report = run_with(vec![], watched(dir.path(), "mkdir out; touch out/a"));
    assert!(report.changes.as_ref().is_some_and(|changes| changes.incomplete), "{report:?}");
    // It is still found: without `**/`, only folders in which something can match are searched.
    assert!(found(&report).contains(&("out/a", 0)), "{report:?}");
    // Twice 200 ms, plus two seconds.
    assert!(begun.elapsed() < 60 * 1000 * MILLISECOND);
}

/// Prints the cost: `cargo test -p orchestra-sandbox -- --nocapture handful`.
#[test]
fn a_handful_of_files_costs_next_to_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for name in 0..8 {
        fs::write(dir.path().join(name.to_string()), "x").unwrap();
    }
    let mut took = [false, true].map(|looks| {
        let mut times: Vec<_> = (0..30)
            .map(|_| {
                let run = watched(dir.path(), "exit");
                let limit = if looks { 1000 } else { 0 };
                let run = Run { change_limit: limit, artifacts: vec![], ..run };
                let begun = Instant::now();
                assert_eq!(run_with(vec![], run).status(), Status::Code(0));
                begun.elapsed()
            })
            .collect();
        times.sort_unstable();
        times[times.len() / 2]
    });
    took.sort_unstable();
    println!("without and with a look before and after: {took:?}");
    assert!(took[1] < took[0] + 20 * MILLISECOND, "{took:?}");
}
