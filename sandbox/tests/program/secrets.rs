//! Secrets that a job prints never leave the sandbox.

use std::fs;

use orchestra_sandbox::protocol::{Event, Run, Stream};

use crate::harness::{Sandbox, job, job_in, run};

const SECRET: &[u8] = b"correct-horse-battery";

fn keeping(run: Run) -> Run {
    Run { masks: vec![SECRET.to_vec()], ..run }
}

#[test]
fn a_secret_in_two_writes_is_masked_on_both_streams() {
    let dir = tempfile::tempdir().unwrap();
    let script = "printf 'a correct-horse'; echo first >&2; until [ -e go ]; do :; done
                  echo '-battery b'; echo correct-horse-battery >&2; printf correct-";
    let sandbox = Sandbox::start(keeping(job_in(dir.path(), script)));
    let mut shown = [Vec::new(), Vec::new()];
    for event in sandbox.events() {
        if let Event::Output { stream, bytes, .. } = event {
            shown[usize::from(stream == Stream::Stderr)].extend(bytes);
            // The rest is written only now, so everything up to here has been forwarded.
            if shown[0].starts_with(b"a ") && shown[1].starts_with(b"first") {
                fs::write(dir.path().join("go"), "").unwrap();
            }
        }
    }
    let [stdout, stderr] = shown.map(|bytes| String::from_utf8(bytes).unwrap());
    // A prefix at the end of the stream is shown if it is as short as a word, and masked otherwise.
    assert_eq!((stdout.as_str(), stderr.as_str()), ("a *** b\n***", "first\n***\n"));
}

#[test]
fn the_cut_of_a_flood_shows_no_part_of_a_secret() {
    let script = "for ((i = 0; i < 20000; i += 1)); do echo correct-horse-battery; done";
    for head in 100..104 {
        let report = run(keeping(Run { log_head: head, log_tail: 101, ..job(script) }));
        let kept: Vec<_> = report.stdout.iter().filter(|byte| !b"*\n".contains(byte)).collect();
        assert_eq!((kept, report.stdout.len() as u64), (vec![], head + 101));
        // As long as its replacement.
        assert_eq!(report.gap, 4 * 20_000 - head - 101);
    }
}

#[test]
fn megabytes_between_two_secrets_arrive_whole() {
    let script =
        "echo correct-horse-battery; head -c 20000000 /dev/zero; echo correct-horse-battery";
    let report = run(keeping(job(script)));
    assert_eq!((report.stdout.len(), report.gap), (20_000_008, 0));
    assert!(report.stdout.starts_with(b"***\n") && report.stdout.ends_with(b"\0***\n"));
}
