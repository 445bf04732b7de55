//! Which times of a schedule are due, which were missed, and which of those is made up for.

use jiff::Timestamp;
use orchestra_contracts::{Overlap, Span};

use super::Timetable;

/// More times than these are not counted one by one when a master comes back.
const COUNTED: usize = 1_000;

/// What is to be done with a schedule whose time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The newest of its times, where it is not too late for it.
    pub time: Option<Timestamp>,
    pub missed: Option<Missed>,
    /// The one that is waited for next; `None` when there will be none.
    pub next: Option<Timestamp>,
}

/// Times that came and went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// How many, up to some bound.
    pub times: u64,
    pub newest: Timestamp,
}

/// `waited_for` is the oldest time for which nothing was done yet; `None` when it is still to
/// come. Of several that are due only the newest counts, if it is no older than `catch_up`: who
/// was away for a week wants one backup now and not seven.
pub fn due(
    table: &Timetable,
    waited_for: Timestamp,
    catch_up: Span,
    now: Timestamp,
) -> Option<Due> {
    if waited_for > now {
        return None;
    }
    // What is stored counts also where the rules of the zone have changed since.
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

/// What a job that has not ended means for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Begin,
    /// Not this time.
    Skip,
    /// When the others have ended, which somebody has to see to.
    Wait,
}

/// Whether a job may begin while so many of its schedule have not ended.
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
        // However far back it may go.
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
