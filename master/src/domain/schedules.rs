//! Which times of a schedule are due, which were missed, and which missed one still runs.

use jiff::Timestamp;
use orchestra_contracts::{Overlap, Span};

use super::Timetable;

/// At most this many missed times are counted when a master comes back.
const COUNTED: usize = 1_000;

/// What to do with a schedule whose time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The newest time that is due, unless it is too late for it.
    pub time: Option<Timestamp>,
    pub missed: Option<Missed>,
    /// The next time. `None` if there will be none.
    pub next: Option<Timestamp>,
}

/// Times that passed without a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// Their number, up to a bound.
    pub times: u64,
    pub newest: Timestamp,
}

/// What is due now. `waited_for` is the oldest time that was not handled yet. `None` if that is
/// still in the future. Of several times that are due only the newest runs, and only if it is at
/// most `catch_up` old: after a week's absence one backup is wanted, not seven.
pub fn due(
    table: &Timetable,
    waited_for: Timestamp,
    catch_up: Span,
    now: Timestamp,
) -> Option<Due> {
    if waited_for > now {
        return None;
    }
    // The stored time counts even if the zone's rules have changed since.
    let newest = table.until(now).map_or(waited_for, |time| time.max(waited_for));
    let late = now.as_millisecond().saturating_sub(newest.as_millisecond());
    let in_time = late <= catch_up.as_millis();
    let older = |count: &Timestamp| *count < newest;
    let first = Some(waited_for).filter(older).into_iter();
    let missed: Vec<Timestamp> =
        first.chain(table.from(waited_for).take_while(older)).take(COUNTED).collect();
    let times = missed.len() as u64 + u64::from(!in_time);
    let last = if in_time { missed.last().copied() } else { Some(newest) };
    Some(Due {
        time: in_time.then_some(newest),
        missed: last.map(|newest| Missed { times, newest }),
        next: table.after(now),
    })
}

/// What the schedule's unfinished jobs mean for its next job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Begin,
    /// Skip this time.
    Skip,
    /// Begin when the others have ended. The caller has to end them.
    Wait,
}

/// Whether a job may begin while `open` jobs of its schedule have not ended.
pub fn turn(overlap: Overlap, open: usize) -> Turn {
    match overlap {
        _ if open == 0 => Turn::Begin,
        Overlap::Allow => Turn::Begin,
        Overlap::Skip => Turn::Skip,
        Overlap::Replace => Turn::Wait,
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-01-{text}:00Z").parse().unwrap()
    }

    fn nightly(waited_for: &str, catch_up: u64, now: &str) -> Option<Due> {
        let table = Timetable::new("0 3 * * *", TimeZone::UTC).unwrap();
        due(&table, at(waited_for), Span::from_secs(catch_up), at(now))
    }

    fn what(time: Option<&str>, missed: Option<(u64, &str)>, next: &str) -> Due {
        let missed = missed.map(|(times, newest)| Missed { times, newest: at(newest) });
        Due { time: time.map(at), missed, next: Some(at(next)) }
    }

    #[test]
    fn nothing_is_due_before_its_time() {
        assert_eq!(nightly("02T03:00", 3600, "02T02:59"), None);
        assert_eq!(
            nightly("02T03:00", 3600, "02T03:00"),
            Some(what(Some("02T03:00"), None, "03T03:00"))
        );
    }

    #[test]
    fn a_time_is_made_up_for_while_it_is_not_too_late() {
        let made_up = Some(what(Some("02T03:00"), None, "03T03:00"));
        assert_eq!(nightly("02T03:00", 3600, "02T04:00"), made_up);
        let skipped = Some(what(None, Some((1, "02T03:00")), "03T03:00"));
        assert_eq!(nightly("02T03:00", 3600, "02T04:01"), skipped);
        assert_eq!(nightly("02T03:00", 0, "02T03:00"), made_up);
        assert_eq!(nightly("02T03:00", 0, "02T03:01"), skipped);
    }

    #[test]
    fn of_many_the_newest_counts() {
        let one = Some(what(Some("09T03:00"), Some((7, "08T03:00")), "10T03:00"));
        assert_eq!(nightly("02T03:00", 3600, "09T03:30"), one);
        // The same, however long `catch_up` is.
        assert_eq!(nightly("02T03:00", 30 * 86_400, "09T03:30"), one);
        let none = Some(what(None, Some((8, "09T03:00")), "10T03:00"));
        assert_eq!(nightly("02T03:00", 3600, "09T05:00"), none);
    }

    #[test]
    fn a_long_absence_is_not_counted_to_its_end() {
        let table = Timetable::new("* * * * *", TimeZone::UTC).unwrap();
        let found = due(&table, at("01T00:00"), Span::from_secs(60), at("20T00:00")).unwrap();
        assert_eq!((found.time, found.next), (Some(at("20T00:00")), Some(at("20T00:01"))));
        assert_eq!(found.missed.unwrap().times, 1_000);
    }

    #[test]
    fn a_stored_time_counts_though_the_table_has_it_no_more() {
        assert_eq!(
            nightly("02T04:00", 3600, "02T04:30"),
            Some(what(Some("02T04:00"), None, "03T03:00")),
            "the rules of its zone were others when it was stored"
        );
    }

    #[test]
    fn each_policy_has_its_way_with_an_open_job() {
        let turns = |open| Overlap::ALL.map(|overlap| turn(overlap, open));
        assert_eq!(turns(0), [Turn::Begin; 3]);
        assert_eq!(turns(2), [Turn::Begin, Turn::Skip, Turn::Wait]);
    }
}
