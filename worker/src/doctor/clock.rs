//! Whether this machine's clock agrees with the master's. Leases compare no clocks, but log lines
//! are stamped here and read beside the master's times.

use jiff::{SignedDuration, Timestamp};

use super::Check;

/// A larger difference is noticeable in a log, and a synchronised clock never has one.
const BEARABLE: SignedDuration = SignedDuration::from_secs(2);
/// The master gives whole seconds (RFC 9110, section 5.6.7).
const GRAIN: SignedDuration = SignedDuration::from_secs(1);

/// Compares the clocks, given that the master said `told` between `asked` and `heard` on this
/// machine's clock. Its real time was within the second that it named, at some moment between the
/// two.
pub fn clock_check(asked: Timestamp, told: Timestamp, heard: Timestamp) -> Check {
    // How far this clock is ahead, at least and at most.
    let least = asked.duration_since(told) - GRAIN;
    let most = heard.duration_since(told);
    let bad = |by: SignedDuration, where_to: &str| {
        Check::bad(
            "clock",
            format!("at least {} {where_to} the master's", seconds(by)),
            "sudo timedatectl set-ntp true (here or at the master, whichever is wrong: date -u)",
        )
    };
    if least > BEARABLE {
        bad(least, "ahead of")
    } else if most < -BEARABLE {
        bad(-most, "behind")
    } else {
        let bound = seconds(most.max(-least));
        Check::good("clock", format!("within {bound} of the master's"))
    }
}

fn seconds(time: SignedDuration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check for a call from `asked` to `heard` (milliseconds of our clock) when the master
    /// said second 100.
    fn checked(asked: i64, heard: i64) -> Check {
        let at = |millis| Timestamp::from_millisecond(millis).unwrap();
        clock_check(at(asked), at(100_000), at(heard))
    }

    #[test]
    fn a_clock_is_as_right_as_can_be_known() {
        for (asked, heard, bound) in [
            (100_300, 100_310, "0.7 s"),
            (100_900, 100_910, "0.9 s"),
            // A difference that a slow answer may explain is not reported.
            (100_000, 130_000, "30.0 s"),
            (98_000, 98_000, "3.0 s"),
            (103_000, 103_000, "3.0 s"),
        ] {
            let check = checked(asked, heard);
            assert!(check.ok, "{check:?}");
            assert_eq!(check.detail, format!("within {bound} of the master's"));
        }
    }

    #[test]
    fn a_clock_that_is_wrong_whatever_the_way_took_is_told_with_the_cure() {
        for (asked, heard, detail) in [
            (103_001, 103_500, "at least 2.0 s ahead of the master's"),
            (160_000, 161_000, "at least 59.0 s ahead of the master's"),
            (10_000, 40_000, "at least 60.0 s behind the master's"),
        ] {
            let check = checked(asked, heard);
            assert!(!check.ok && check.detail == detail, "{check:?}");
            assert!(check.fix.as_ref().unwrap().contains("timedatectl"), "{check:?}");
        }
    }
}
