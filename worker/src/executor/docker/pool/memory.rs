//! Whether the worker's machine has memory to spare. For an engine elsewhere, this is unknown.

use std::fs;

use orchestra_contracts::Size;

/// Whether less than this is available for new programs (`proc(5)`, `MemAvailable`).
pub(super) fn is_below(least: Size) -> bool {
    let table = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    available(&table).is_some_and(|bytes| bytes < least.0)
}

fn available(table: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_available_is_read_in_bytes() {
        let table = "MemTotal:  100 kB\nMemFree:   1 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(available(table), Some(2 << 20));
        assert_eq!(available("MemTotal: 100 kB\n"), None);
        assert!(is_below(Size(u64::MAX)) && !is_below(Size(1)), "this machine tells");
    }
}
