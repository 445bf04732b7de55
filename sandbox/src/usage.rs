//! The resource usage of the job, from the container's cgroup (version 2 or 1).

use std::{fs, path::Path, time::Duration};

use orchestra_sandbox::protocol::Throttled;

/// Where an engine mounts a container's own cgroup.
const CGROUP: &str = "/sys/fs/cgroup";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Peak in bytes; 0 if the kernel does not report it (version 2 does since Linux 5.19).
    pub(crate) peak_memory: u64,
    /// `None` if the kernel does not report it.
    pub(crate) oom_kills: Option<u32>,
    pub(crate) throttled: Option<Throttled>,
}

impl Usage {
    pub(crate) fn read() -> Self {
        Self::read_from(Path::new(CGROUP))
    }

    /// The usage since `before`. The peak is still that of the whole time.
    pub(crate) fn since(self, before: Self) -> Self {
        let kills = before.oom_kills.unwrap_or_default();
        let less = |now: Throttled| {
            let Some(before) = before.throttled else { return now };
            let times = now.times.saturating_sub(before.times);
            Throttled { times, time: now.time.saturating_sub(before.time) }
        };
        Self {
            oom_kills: self.oom_kills.map(|now| now.saturating_sub(kills)),
            throttled: self.throttled.map(less),
            ..self
        }
    }

    fn read_from(cgroup: &Path) -> Self {
        let first = |files: [&str; 2]| {
            files.iter().find_map(|file| fs::read_to_string(cgroup.join(file)).ok())
        };
        let peak = first(["memory.peak", "memory/memory.max_usage_in_bytes"]);
        let events = first(["memory.events", "memory/memory.oom_control"]);
        Self {
            peak_memory: peak.and_then(|peak| peak.trim().parse().ok()).unwrap_or(0),
            oom_kills: events.as_deref().and_then(oom_kills),
            throttled: first(["cpu.stat", "cpu/cpu.stat"]).as_deref().and_then(throttled),
        }
    }
}

fn oom_kills(events: &str) -> Option<u32> {
    events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())
}

/// Version 2 counts in microseconds, version 1 in nanoseconds.
fn throttled(stat: &str) -> Option<Throttled> {
    let number = |name: &str| {
        let of = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<u64>().ok();
        stat.lines().find_map(of)
    };
    let micros = || number("throttled_usec").map(Duration::from_micros);
    let time = micros().or_else(|| number("throttled_time").map(Duration::from_nanos))?;
    Some(Throttled { times: number("nr_throttled")?, time })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> Usage {
        let cgroup = tempfile::tempdir().unwrap();
        for controller in ["memory", "cpu"] {
            fs::create_dir(cgroup.path().join(controller)).unwrap();
        }
        for (name, text) in files {
            fs::write(cgroup.path().join(name), text).unwrap();
        }
        Usage::read_from(cgroup.path())
    }

    #[test]
    fn version_2() {
        let events = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 9\n";
        let stat = "usage_usec 9\nnr_periods 8\nnr_throttled 3\nthrottled_usec 250\n";
        let usage =
            read(&[("memory.peak", "7340032\n"), ("memory.events", events), ("cpu.stat", stat)]);
        let throttled = Some(Throttled { times: 3, time: Duration::from_micros(250) });
        assert_eq!(usage, Usage { peak_memory: 7_340_032, oom_kills: Some(2), throttled });
    }

    #[test]
    fn version_1() {
        let usage = read(&[
            ("memory/memory.max_usage_in_bytes", "4096\n"),
            ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 1\noom_kill 1\n"),
            ("cpu/cpu.stat", "nr_periods 8\nnr_throttled 4\nthrottled_time 250000\n"),
        ]);
        let throttled = Some(Throttled { times: 4, time: Duration::from_micros(250) });
        assert_eq!(usage, Usage { peak_memory: 4096, oom_kills: Some(1), throttled });
    }

    #[test]
    fn what_was_counted_before_is_not_the_jobs() {
        let of = |kills, times, millis| Usage {
            peak_memory: 9,
            oom_kills: kills,
            throttled: Some(Throttled { times, time: Duration::from_millis(millis) }),
        };
        assert_eq!(of(Some(3), 5, 70).since(of(Some(1), 2, 30)), of(Some(2), 3, 40));
        assert_eq!(of(Some(3), 5, 70).since(Usage::default()), of(Some(3), 5, 70));
        // Counts do not fall below 0, and an unknown count stays unknown.
        assert_eq!(of(None, 5, 70).since(of(Some(1), 9, 90)), of(None, 0, 0));
    }

    #[test]
    fn nothing_to_read_and_nothing_that_makes_sense() {
        assert_eq!(read(&[]), Usage::default());
        // Without a quota the kernel has no such counter.
        let usage = read(&[
            ("memory.peak", "max\n"),
            ("memory.events", "oom_kill many\n"),
            ("cpu.stat", "usage_usec 9\n"),
        ]);
        assert_eq!(usage, Usage::default());
    }
}
