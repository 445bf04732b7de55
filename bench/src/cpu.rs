//! CPU time, as the kernel counts it (`proc(5)`).
//!
//! The time of a process includes its reaped children. The time of short-lived processes, such as
//! runtimes and their helpers, is what remains of the machine's total.

use std::{collections::BTreeMap, fs, time::Duration};

/// CPU time of the machine since it started, and who used it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cpu {
    /// Everything but idle time.
    pub(crate) machine: Duration,
    /// By program name; processes of the same name are added up.
    by_name: BTreeMap<String, Duration>,
    /// All containers, removed ones included.
    containers: Duration,
}

/// Fields of `/proc/<pid>/stat` after the name: user and system time, own and of children.
const TIMES: std::ops::Range<usize> = 11..15;
/// Fields of the first line of `/proc/stat` that count idle time.
const IDLE: [usize; 2] = [3, 4];

impl Cpu {
    pub(crate) fn now() -> Self {
        let mut all = Self { machine: machine(), containers: containers(), ..Self::default() };
        for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
            // The process may have ended meanwhile.
            let stat = fs::read_to_string(process.path().join("stat")).unwrap_or_default();
            if let Some((name, time)) = of_process(&stat) {
                *all.by_name.entry(name).or_default() += time;
            }
        }
        all
    }

    /// The time used since then.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let by_name = self.by_name.iter().map(|(name, now)| {
            let before = before.by_name.get(name).copied().unwrap_or_default();
            (name.clone(), now.saturating_sub(before))
        });
        Self {
            machine: self.machine.saturating_sub(before.machine),
            containers: self.containers.saturating_sub(before.containers),
            by_name: by_name.collect(),
        }
    }

    /// The time of all programs of this name.
    pub(crate) fn of(&self, name: &str) -> Duration {
        self.by_name.get(name).copied().unwrap_or_default()
    }

    pub(crate) fn containers(&self) -> Duration {
        self.containers
    }
}

/// CPU time of one process.
pub(crate) fn of(id: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    of_process(&stat).map_or(Duration::ZERO, |(_, time)| time)
}

/// Resident memory of a process, in MiB.
pub(crate) fn resident(id: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kibibytes.unwrap_or_default() / 1024.0
}

fn of_process(stat: &str) -> Option<(String, Duration)> {
    let (before, rest) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let times = fields.get(TIMES)?.iter().map(|field| field.parse::<u64>().unwrap_or_default());
    Some((name.to_owned(), ticks(times.sum())))
}

fn machine() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = stat.lines().next().unwrap_or_default();
    let fields = first.split_whitespace().skip(1).map(|field| field.parse::<u64>().unwrap_or(0));
    // The fields after the eighth are already included in the first two.
    let busy = fields.take(8).enumerate().filter(|(index, _)| !IDLE.contains(index));
    ticks(busy.map(|(_, time)| time).sum())
}

/// CPU time of all containers. cgroups v1 count in nanoseconds, v2 in microseconds.
fn containers() -> Duration {
    if let Ok(text) = fs::read_to_string("/sys/fs/cgroup/cpuacct/docker/cpuacct.usage") {
        return Duration::from_nanos(text.trim().parse().unwrap_or_default());
    }
    let stat = fs::read_to_string("/sys/fs/cgroup/docker/cpu.stat").unwrap_or_default();
    let line = stat.lines().find_map(|line| line.strip_prefix("usage_usec "));
    Duration::from_micros(line.and_then(|line| line.parse().ok()).unwrap_or_default())
}

fn ticks(count: u64) -> Duration {
    let each = rustix::param::clock_ticks_per_second();
    Duration::from_millis(count * 1000 / each)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let fields = "S 1 1 1 0 -1 4194560 1 2 3 4 100 50 25 25 20 0";
        let (name, time) = of_process(&format!("7 (a) b) {fields}")).expect("a process");
        assert_eq!((name.as_str(), time), ("a) b", ticks(200)));
        assert_eq!(of_process(""), None);
    }

    #[test]
    fn this_machine_counts() {
        let before = Cpu::now();
        let work: u64 = (0..200_000_000_u64).fold(1, |sum, next| sum.wrapping_mul(next | 3));
        assert_ne!(work, 0);
        let used = Cpu::now().since(&before);
        assert!(used.machine > Duration::ZERO && of(std::process::id()) > Duration::ZERO);
        assert!(resident(std::process::id()) > 0.0);
    }
}
