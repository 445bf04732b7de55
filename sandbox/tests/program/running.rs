//! A job that simply runs.

use std::{collections::BTreeSet, fs, process::Command as Process};

use orchestra_sandbox::protocol::{Command, Event, Run, Status, Stream, VERSION};

use crate::harness::{
    ATTEMPT, HOUR, MILLISECOND, PROGRAM, Sandbox, assert_same_bytes, job, job_in, run,
};

#[test]
fn hello() {
    let mut sandbox = Sandbox::spawn(&mut Process::new(PROGRAM));
    sandbox.read();
    let Some(Event::Ready(ready)) = sandbox.event() else {
        panic!("it says that it is ready first")
    };
    assert_eq!((ready.version, ready.boot.len()), (VERSION, 36), "{ready:?}");
    sandbox.send(&Command::Run(Box::new(job("echo hello"))));
    assert_eq!(sandbox.event(), Some(Event::Taken(ATTEMPT)));
    assert_eq!(sandbox.event(), Some(Event::Started));
    let Some(Event::Output { stream, bytes, .. }) = sandbox.event() else { panic!("no output") };
    assert_eq!((stream, &bytes[..]), (Stream::Stdout, &b"hello\n"[..]));
    let Some(Event::Exited(exit)) = sandbox.event() else { panic!("no end") };
    assert_eq!((exit.status, exit.killed), (Status::Code(0), None));
    assert_eq!((sandbox.event(), sandbox.exit_code()), (None, 0));
}

#[test]
fn exit_codes() {
    for code in 0..=255 {
        let report = run(job(&format!("exit {code}")));
        assert_eq!((report.status(), report.code), (Status::Code(code), i32::from(code)));
    }
}

#[test]
fn signals_end_the_shell_with_their_number() {
    for (signal, number) in [("KILL", 9), ("TERM", 15), ("SEGV", 11), ("PIPE", 13)] {
        let report = run(job(&format!("kill -{signal} $$; sleep 60")));
        assert_eq!(report.status(), Status::Signal(number), "{signal}");
        assert_eq!((report.code, report.exit().killed), (128 + i32::from(number), None));
    }
}

#[test]
fn the_two_streams_are_kept_apart_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    // Each line is written after the one before it has arrived.
    let wait = |file: &str| format!("until [ -e {file} ]; do :; done");
    let script = format!("echo 1; {}; echo 2 >&2; {}; echo 3", wait("one"), wait("two"));
    let sandbox = Sandbox::start(job_in(dir.path(), &script));
    let mut seen = Vec::new();
    for event in sandbox.events() {
        if let Event::Output { stream, bytes, .. } = event {
            seen.push((stream, String::from_utf8(bytes).unwrap()));
            fs::write(dir.path().join(if seen.len() == 1 { "one" } else { "two" }), "").unwrap();
        }
    }
    let line = |stream, text: &str| (stream, text.to_owned());
    let (out, err) = (Stream::Stdout, Stream::Stderr);
    assert_eq!(seen, [line(out, "1\n"), line(err, "2\n"), line(out, "3\n")]);
}

/// A megabyte in which every byte value occurs and no pattern repeats at a power of two.
fn binary() -> Vec<u8> {
    (0..1_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

#[test]
fn output_is_exact_to_the_byte() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("binary"), binary()).unwrap();
    let report = run(job_in(dir.path(), "cat binary; cat binary >&2"));
    assert_same_bytes(&report.stdout, &binary(), "stdout");
    assert_same_bytes(&report.stderr, &binary(), "stderr");
}

#[test]
fn frames_that_the_job_writes_are_output() {
    let dir = tempfile::tempdir().unwrap();
    let mut forged = Vec::new();
    let exited = run(job("exit 3")).exit();
    for event in [Event::Exited(exited), Event::Failed("forged".to_owned())] {
        orchestra_sandbox::protocol::Message::encode(&event, &mut forged);
    }
    fs::write(dir.path().join("forged"), &forged).unwrap();
    let report = run(job_in(dir.path(), "cat forged"));
    assert_eq!((report.stdout, report.code), (forged, 0));
}

#[test]
fn standard_input_is_delivered() {
    let report = run(Run { stdin: binary(), ..job("cat") });
    assert_same_bytes(&report.stdout, &binary(), "stdin");
    let report = run(Run { stdin: b"one\ntwo\n".to_vec(), ..job("read a; read b; echo $b $a") });
    assert_eq!(report.text(), "two one\n");
}

#[test]
fn no_standard_input_is_an_empty_one() {
    let report = run(job("readlink /proc/self/fd/0; read line; echo $?"));
    assert_eq!(report.text(), "/dev/null\n1\n");
}

#[test]
fn the_environment_is_what_was_given() {
    let pair = |key: &str, value: &[u8]| (key.as_bytes().to_vec(), value.to_vec());
    let env = vec![
        pair("PATH", b"/usr/bin:/bin"),
        pair("EMPTY", b""),
        pair("LINES_", b"one\ntwo=2"),
        pair("BYTES", b"\xff\xfe"),
    ];
    let report = run(Run { env, ..job("cat /proc/$$/environ; :") });
    let found: BTreeSet<_> = report.stdout.split(|&byte| byte == 0).collect();
    let expected: [&[u8]; 5] =
        [b"", b"BYTES=\xff\xfe", b"EMPTY=", b"LINES_=one\ntwo=2", b"PATH=/usr/bin:/bin"];
    assert_eq!(found, BTreeSet::from(expected));
    assert_eq!(run(Run { env: vec![], ..job("cat /proc/$$/environ; :") }).text(), "");
}

#[test]
fn the_shell_starts_in_its_directory_with_its_umask() {
    let dir = tempfile::tempdir().unwrap();
    let report =
        run(Run { umask: 0o027, ..job_in(dir.path(), "pwd -P; umask; echo $0; touch file") });
    let path = dir.path().canonicalize().unwrap();
    assert_eq!(report.text(), format!("{}\n0027\nbash\n", path.display()));
    assert!(path.join("file").exists());
}

#[test]
fn the_shell_has_nothing_of_the_sandbox() {
    // After the name in brackets: state, parent, group, session.
    let session =
        "read -r stat < /proc/$$/stat; set -- ${stat##*) }; echo $(($3 - $$)) $(($4 - $$))";
    let signals = "grep -E 'Sig(Blk|Ign):' /proc/self/status | tr -dc '1-9a-f\n'";
    let report = run(job(&format!("{session}; {signals}; ls /proc/$$/fd; :")));
    assert_eq!(report.text(), "0 0\n\n\n0\n1\n2\n");
}

#[test]
fn output_that_is_closed_or_thrown_away_holds_nothing_up() {
    let report = run(job("exec >&- 2>&-; exit 3"));
    assert_eq!((report.code, &report.stdout[..]), (3, &b""[..]));
    let report = run(job("exec >/dev/null 2>/dev/null; echo lost; exit 4"));
    assert_eq!((report.code, &report.stdout[..]), (4, &b""[..]));
}

#[test]
fn times_are_told() {
    let exit = run(job("i=0; while ((i < 30000)); do ((i += 1)); done")).exit();
    assert!(exit.cpu > MILLISECOND, "{exit:?}");
    assert!(exit.wall >= exit.cpu / 2 && exit.wall < HOUR, "{exit:?}");
}

#[test]
fn what_cannot_start_says_why() {
    let cases = [
        (
            Run { workdir: b"/no/such/place".to_vec(), ..job("true") },
            "directory /no/such/place: No",
        ),
        (job(&"#".repeat(131_072)), "the kernel takes no string over 131071 bytes"),
        (job("echo \0"), "cannot start /bin/bash: nul byte"),
    ];
    for (job, expected) in cases {
        let report = run(job);
        let reason = report.failed.expect("it fails");
        assert!(reason.contains(expected), "{reason}");
        assert_eq!((report.code, report.exit), (125, None));
    }
    // The longest script that fits.
    assert_eq!(run(job(&"#".repeat(131_071))).code, 0);
}

#[test]
fn a_wrong_argument_is_refused() {
    for (argument, idle) in [(Some("--idle"), "1"), (Some("a"), "1"), (None, "soon"), (None, "")] {
        let mut process = Process::new(PROGRAM);
        let output = process.args(argument).env("ORCHESTRA_IDLE_MS", idle).output().unwrap();
        assert_eq!(output.status.code(), Some(125), "{argument:?} {idle:?}");
        assert!(output.stdout.is_empty());
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.starts_with("orchestra-sandbox: it ") || text.contains("IDLE_MS"), "{text}");
    }
}
