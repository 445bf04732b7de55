//! Resource use of a process: memory, file descriptors and threads, read from `/proc`.

use super::Recorder;
use crate::{
    check::{Phase, What},
    program::Program,
};

/// Records the program's current use, or nothing when it has ended.
pub fn record(recorder: &Recorder, name: &str, program: &Program, phase: Phase) {
    let id = program.id();
    let Ok(status) = std::fs::read_to_string(format!("/proc/{id}/status")) else { return };
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let (Some(kib), Some(threads)) = (field("VmRSS:"), field("Threads:")) else { return };
    let files = std::fs::read_dir(format!("/proc/{id}/fd")).map_or(0, Iterator::count) as u64;
    // A restarted program is a different process, and is measured as another program.
    let program = format!("{name} (process {id})");
    recorder.record(What::Measured { program, phase, memory: kib * 1024, files, threads });
}
