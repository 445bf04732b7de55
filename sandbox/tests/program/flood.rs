//! Output beyond every limit.

use std::fs;

use orchestra_sandbox::protocol::{Event, Run, Status};

use crate::harness::{Sandbox, assert_same_bytes, job, run};

const MIB: u64 = 1 << 20;

/// In KiB.
fn peak_memory(sandbox: &Sandbox) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", sandbox.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it is alive");
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_flood_keeps_its_head_and_its_tail_in_flat_memory() {
    const BYTES: u64 = 200_000_000;
    let limits = Run { log_head: MIB, log_tail: MIB, ..job("") };
    let sandbox = Sandbox::start(Run {
        script: format!("seq -f %099.0f {}; exit 6", BYTES / 100).into(),
        ..limits
    });
    let (mut head, mut gap, mut tail, mut last) = (Vec::new(), 0, Vec::new(), None);
    for event in sandbox.events() {
        match event {
            Event::Output { bytes, .. } if gap == 0 => head.extend(bytes),
            Event::Output { bytes, .. } => tail.extend(bytes),
            Event::Gap { bytes, .. } => {
                gap = bytes;
                // The tail is longer than the buffers between here and the program, so the program
                // still runs, and holds all that it ever held.
                assert!(peak_memory(&sandbox) < 32 << 10, "{} KiB", peak_memory(&sandbox));
            }
            Event::Exited(exit) => last = Some(exit.status),
            _ => {}
        }
    }
    assert_eq!((head.len() as u64, tail.len() as u64), (MIB, MIB));
    assert_eq!((gap, last), (BYTES - 2 * MIB, Some(Status::Code(6))));
    let line = |at: u64| format!("{:099}\n", at / 100 + 1).into_bytes()[at as usize % 100];
    let written = |from: u64| (from..from + MIB).map(line).collect::<Vec<_>>();
    assert_same_bytes(&head, &written(0), "head");
    assert_same_bytes(&tail, &written(BYTES - MIB), "tail");
}

#[test]
fn two_bytes_at_a_time_to_both_streams_are_counted_exactly() {
    let script = "for ((i = 0; i < 20000; i += 1)); do echo a; echo b >&2; done";
    let report = run(Run { log_head: 1000, log_tail: 1000, ..job(script) });
    let kept = (report.stdout.len() + report.stderr.len()) as u64;
    assert_eq!((kept, kept + report.gap), (2000, 80_000));
}

#[test]
fn a_line_without_end_is_passed_on_piece_by_piece() {
    let report = run(job("head -c 20000000 /dev/zero"));
    assert_eq!((report.stdout.len(), report.gap), (20_000_000, 0));
}
