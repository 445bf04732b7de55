//! Metrics of this process, under the names that Prometheus's own client libraries use
//! (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>).

use std::fs;

use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};

/// `None` where the system does not provide a value.
#[derive(Clone, Copy, Debug, Default)]
pub struct Process {
    pub cpu_seconds: Option<f64>,
    /// Resident memory in bytes.
    pub resident: Option<u64>,
    pub virtual_size: Option<u64>,
    pub open_files: Option<u64>,
    pub most_open_files: Option<u64>,
    /// The start time in seconds since 1970.
    pub started_seconds: Option<f64>,
}

impl Process {
    /// Reads the current values.
    pub(crate) fn look() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let files = fs::read_dir("/proc/self/fd").ok();
        let Stat { cpu, began, resident, virtual_size } = Stat::read(&stat).unwrap_or_default();
        let seconds = |ticks| super::ratio(ticks, clock_ticks_per_second());
        Self {
            cpu_seconds: cpu.map(seconds),
            resident: resident.map(|pages| pages.saturating_mul(page_size() as u64)),
            virtual_size,
            // Not counting the descriptor of this directory listing.
            open_files: files.map(|files| (files.count() as u64).saturating_sub(1)),
            most_open_files: getrlimit(Resource::Nofile).current,
            started_seconds: began.zip(boot()).map(|(began, boot)| seconds(began) + boot),
        }
    }
}

/// The fields used from `/proc/self/stat` (proc(5)), in ticks, pages and bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Stat {
    cpu: Option<u64>,
    began: Option<u64>,
    resident: Option<u64>,
    virtual_size: Option<u64>,
}

impl Stat {
    /// Parses after the last parenthesis: the program name before it can contain anything.
    fn read(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        // proc(5) numbers fields from 1; the first one after the name is number 3.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu: field(14).zip(field(15)).map(|(user, system)| user.saturating_add(system)),
            began: field(22),
            virtual_size: field(23),
            resident: field(24),
        })
    }
}

/// The boot time in seconds since 1970.
fn boot() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_read_whatever_the_program_is_called() {
        let text =
            "7 (a) R 1 (b) S 1 7 7 0 -1 4194560 100 0 0 0 30 12 0 0 20 0 8 0 5000 99000 250 1";
        let stat = Stat {
            cpu: Some(42),
            began: Some(5000),
            resident: Some(250),
            virtual_size: Some(99_000),
        };
        assert_eq!(Stat::read(text), Some(stat));
        assert_eq!(Stat::read("7 (a"), None);
        assert_eq!(Stat::read("7 (a) R"), Some(Stat::default()));
    }

    #[test]
    fn this_process_is_there() {
        let process = Process::look();
        assert!(process.resident.is_some_and(|bytes| bytes > 1 << 20), "{process:?}");
        assert!(process.virtual_size >= process.resident, "{process:?}");
        assert!(process.open_files.is_some_and(|files| files >= 3), "{process:?}");
        // 1.7e9 is in November 2023, before this test was written.
        assert!(process.started_seconds.is_some_and(|start| start > 1.7e9), "{process:?}");
        assert!(process.cpu_seconds.is_some(), "{process:?}");
    }
}
