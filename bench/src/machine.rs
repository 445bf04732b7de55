//! The machine that the figures come from. The duration of an fsync belongs to every durable
//! figure.

use std::{fs, io::Write as _, time::Instant};

use crate::{error::BenchError, rows::Bench, statistics::Samples};

const SYNCS: usize = 300;
const BLOCK: [u8; 4096] = [7; 4096];

/// Lines for the head of a report.
pub(crate) async fn describe(bench: &Bench) -> Vec<String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches(['\t', ' ', ':']);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = read("/proc/meminfo");
    let memory = memory.lines().next().unwrap_or_default().trim_start_matches("MemTotal:").trim();
    let kernel = read("/proc/sys/kernel/osrelease");
    let engine = bench.engine.version().await.unwrap_or_else(|error| error.to_string());
    let sync = match syncs(bench) {
        Ok(times) => format!(
            "4 KiB and fdatasync: p50 {:.0} µs, p99 {:.0} µs",
            times.median(),
            times.percentile(99.0)
        ),
        Err(error) => error.to_string(),
    };
    vec![
        format!("{cores} cores ({model}), {memory} of memory, Linux {}", kernel.trim()),
        format!("Docker Engine {engine}; sync of the disk with the databases: {sync}"),
        format!("load before: {}", read("/proc/loadavg").trim()),
        format!("orchestra {}, {}", env!("CARGO_PKG_VERSION"), commit()),
    ]
}

fn syncs(bench: &Bench) -> Result<Samples, BenchError> {
    let mut file = tempfile::tempfile_in(bench.folder()).map_err(BenchError::io("a file"))?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let start = Instant::now();
        file.write_all(&BLOCK).and_then(|()| file.sync_data()).map_err(BenchError::io("a sync"))?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(std::iter::once(times).collect())
}

fn commit() -> String {
    let output = std::process::Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .current_dir(crate::program::repository())
        .output();
    let told = output.ok().filter(|output| output.status.success());
    let commit = told.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    commit.map_or_else(|| "commit unknown".to_owned(), |commit| format!("commit {commit}"))
}
