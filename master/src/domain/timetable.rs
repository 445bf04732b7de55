//! The times of a cron expression in a time zone.
//!
//! When clocks go forward, the skipped times do not exist: an expression that names one minute of
//! one hour (`30 2 * * *`) fires once, at the first moment after the gap; any other (`*/30 * * *
//! *`, `30 1,2 * * *`) continues with its next time. When clocks go back, an hour occurs twice: the
//! former fires in the first of the two, the latter in both. This is how cron has behaved since
//! Vixie's.

use std::{cmp::Ordering, fmt};

use croner::{
    Cron,
    errors::CronError,
    parser::{CronParser, Seconds, Year},
    time::{CivilDateTime, CronDateTime, Resolution, Weekday},
};
use jiff::{
    SignedDuration, Timestamp, ZonedDateTime, civil,
    tz::{AmbiguousOffset, TimeZone},
};
use orchestra_contracts::NewSchedule;

/// A cron expression with its time zone.
#[derive(Clone)]
pub struct Timetable {
    cron: Cron,
    zone: TimeZone,
}

impl Timetable {
    /// Parses five fields or a word like `@daily`. The error says why it is not a cron expression.
    pub fn new(cron: &str, zone: TimeZone) -> Result<Self, String> {
        if cron.len() > NewSchedule::CRON_BYTES {
            return Err(format!("has more than {} bytes", NewSchedule::CRON_BYTES));
        }
        // The parser would uppercase the text, and so accept letters outside ASCII.
        if !cron.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
            return Err("has characters that no cron expression has".to_owned());
        }
        // The parser would accept an empty value, and then search for its times forever.
        if cron.split_whitespace().any(|field| field.split(',').any(str::is_empty)) {
            return Err("has a comma with nothing before or behind it".to_owned());
        }
        let parser =
            CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(cron).map_err(|error| why(&error))?;
        Ok(Self { cron, zone })
    }

    /// The first time after `moment`. `None` if there is none, as for 30 February.
    pub fn after(&self, moment: Timestamp) -> Option<Timestamp> {
        let found = self.cron.find_next_occurrence(&self.local(moment), false);
        found.ok().map(|Local(zoned)| zoned.timestamp()).filter(|time| *time > moment)
    }

    /// The last time up to and including `moment`.
    pub fn until(&self, moment: Timestamp) -> Option<Timestamp> {
        let found = self.cron.find_previous_occurrence(&self.local(moment), true);
        found.ok().map(|Local(zoned)| zoned.timestamp()).filter(|time| *time <= moment)
    }

    /// All times after `moment`, in order.
    pub fn from(&self, moment: Timestamp) -> impl Iterator<Item = Timestamp> {
        std::iter::successors(self.after(moment), |time| self.after(*time))
    }

    /// The local time, in whole seconds as croner counts.
    fn local(&self, moment: Timestamp) -> Local {
        let second = Timestamp::from_second(moment.as_millisecond().div_euclid(1000));
        Local(second.unwrap_or(moment).to_zoned_datetime(self.zone.clone()))
    }
}

impl fmt::Debug for Timetable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Timetable").field(&self.cron.as_str()).field(&self.zone).finish()
    }
}

fn why(error: &CronError) -> String {
    match error {
        CronError::EmptyPattern => "is empty".to_owned(),
        CronError::InvalidPattern(_) | CronError::IllegalCharacters(_) => {
            "is neither five fields (minute, hour, day, month, day of the week) nor a word like \
             @daily"
                .to_owned()
        }
        CronError::ComponentError(reason) => format!("has a field that cannot be: {reason}"),
        CronError::InvalidDate | CronError::InvalidTime | CronError::TimeSearchLimitExceeded => {
            "names no time that there is".to_owned()
        }
    }
}

/// The calendar that croner searches. A type of our own, because croner uses an older jiff.
#[derive(Clone)]
struct Local(ZonedDateTime);

impl CronDateTime for Local {
    fn to_civil(&self) -> CivilDateTime {
        let it = self.0.datetime();
        let [month, day, hour, minute, second] =
            [it.month(), it.day(), it.hour(), it.minute(), it.second()]
                .map(|part| u32::from(part.unsigned_abs()));
        CivilDateTime::from_ymd_hms_opt(it.year().into(), month, day, hour, minute, second)
            .expect("every date of jiff's is one of croner's")
    }

    fn civil_weekday(&self) -> Weekday {
        let days = self.0.weekday().to_sunday_zero_offset();
        Weekday::from_days_from_sunday(u32::from(days.unsigned_abs()))
    }

    fn resolve_civil(&self, it: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        let year = i16::try_from(it.year()).map_err(|_| CronError::InvalidDate)?;
        let [month, day, hour, minute, second] =
            [it.month(), it.day(), it.hour(), it.minute(), it.second()]
                .map(|part| i8::try_from(part).unwrap_or(i8::MAX));
        let civil = civil::DateTime::new(year, month, day, hour, minute, second, 0);
        let civil = civil.map_err(|_| CronError::InvalidDate)?;
        let zoned = self.0.time_zone().to_ambiguous_zoned_datetime(civil);
        let out_of_range = |_| CronError::InvalidTime;
        Ok(match zoned.offset() {
            AmbiguousOffset::Unambiguous { .. } => {
                Resolution::Single(Self(zoned.unambiguous().map_err(out_of_range)?))
            }
            AmbiguousOffset::Fold { .. } => Resolution::Ambiguous(
                Self(zoned.clone().earlier().map_err(out_of_range)?),
                Self(zoned.later().map_err(out_of_range)?),
            ),
            AmbiguousOffset::Gap { .. } => Resolution::Gap,
        })
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        self.0.checked_add(SignedDuration::from_secs(seconds)).ok().map(Self)
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.0.timestamp().cmp(&other.0.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn table(cron: &str, zone: &str) -> Timetable {
        let zone = jiff::tz::TimeZoneDatabase::bundled().get(zone).unwrap();
        Timetable::new(cron, zone).unwrap()
    }

    fn some(table: &Timetable, after: &str, count: usize) -> Vec<String> {
        table.from(at(after)).take(count).map(|time| time.to_string()).collect()
    }

    #[test]
    fn fields_and_words_are_read() {
        for (cron, times) in [
            ("0 3 * * *", ["2026-01-02T03:00:00Z", "2026-01-03T03:00:00Z"]),
            ("*/20 * * * *", ["2026-01-01T12:20:00Z", "2026-01-01T12:40:00Z"]),
            ("30 6 * * mon-FRI", ["2026-01-02T06:30:00Z", "2026-01-05T06:30:00Z"]),
            ("0 0 1 jan,jul *", ["2026-07-01T00:00:00Z", "2027-01-01T00:00:00Z"]),
            // The day of the month or the day of the week, if both are given.
            ("0 0 4 * SUN", ["2026-01-04T00:00:00Z", "2026-01-11T00:00:00Z"]),
            ("0 0 29 2 *", ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
            ("@hourly", ["2026-01-01T13:00:00Z", "2026-01-01T14:00:00Z"]),
            ("@daily", ["2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"]),
            ("@weekly", ["2026-01-04T00:00:00Z", "2026-01-11T00:00:00Z"]),
            ("@monthly", ["2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"]),
            ("@yearly", ["2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z"]),
        ] {
            let table = table(cron, "UTC");
            assert_eq!(some(&table, "2026-01-01T12:00:00.007Z", 2), times, "{cron}");
        }
    }

    #[test]
    fn what_is_none_is_told() {
        let long = "*".repeat(257);
        for (cron, reason) in [
            ("", "is empty"),
            ("* * * *", "neither"),
            ("0 0 3 * * *", "neither"),
            ("60 * * * *", "cannot be"),
            ("* 24 * * *", "cannot be"),
            ("* * 0 * *", "cannot be"),
            ("* * * 13 *", "cannot be"),
            ("* * * * 8", "cannot be"),
            ("*/0 * * * *", "cannot be"),
            ("5-1 * * * *", "cannot be"),
            ("@reboot", "neither"),
            ("every day", "neither"),
            ("a b c d e", "neither"),
            (", * * * *", "comma"),
            ("1,,2 * * * *", "comma"),
            ("* * * *\t*", "characters"),
            ("\u{ff11} * * * *", "characters"),
            (&long, "more than 256 bytes"),
        ] {
            let refused = Timetable::new(cron, TimeZone::UTC).map(|_| ()).unwrap_err();
            assert!(refused.contains(reason), "{cron:?}: {refused}");
        }
    }

    #[test]
    fn a_day_that_never_comes_has_no_times() {
        for cron in ["0 0 30 2 *", "0 0 31 4,6,9,11 *"] {
            let table = table(cron, "Europe/Berlin");
            let now = at("2026-01-01T00:00:00Z");
            assert_eq!((table.after(now), table.until(now)), (None, None), "{cron}");
        }
    }

    #[test]
    fn its_own_time_is_not_after_it_and_is_until_it() {
        let table = table("0 3 * * *", "UTC");
        let (three, next) = (at("2026-01-02T03:00:00Z"), at("2026-01-03T03:00:00Z"));
        assert_eq!(table.after(three), Some(next));
        assert_eq!(table.until(three), Some(three));
        assert_eq!(table.until(at("2026-01-02T03:00:00.999Z")), Some(three));
        assert_eq!(table.until(at("2026-01-03T02:59:59.999Z")), Some(three));
        assert_eq!(table.after(at("2026-01-02T02:59:59.999Z")), Some(three));
    }

    /// In Berlin, 02:00 to 03:00 does not exist on 29 March 2026.
    #[test]
    fn a_clock_that_is_put_forward_skips_no_fixed_time_and_doubles_none() {
        let daily = table("30 2 * * *", "Europe/Berlin");
        let times = ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"];
        assert_eq!(some(&daily, "2026-03-28T00:00:00Z", 3), times);
        let twice_an_hour = table("*/30 * * * *", "Europe/Berlin");
        let times = ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"];
        assert_eq!(some(&twice_an_hour, "2026-03-29T00:00:00Z", 3), times);
        let of_the_gap = table("30 1,2 * * *", "Europe/Berlin");
        let times = ["2026-03-29T00:30:00Z", "2026-03-29T23:30:00Z"];
        assert_eq!(some(&of_the_gap, "2026-03-29T00:00:00Z", 2), times);
    }

    /// In Berlin, 02:00 to 03:00 occurs twice on 25 October 2026.
    #[test]
    fn a_clock_that_is_put_back_has_a_fixed_time_once_and_others_twice() {
        let daily = table("30 2 * * *", "Europe/Berlin");
        let times = ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"];
        assert_eq!(some(&daily, "2026-10-25T00:00:00Z", 2), times);
        let hourly = table("30 * * * *", "Europe/Berlin");
        let times = ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"];
        assert_eq!(some(&hourly, "2026-10-25T00:00:00Z", 3), times);
    }

    /// Searching backwards finds the times that searching forwards found.
    #[test]
    fn both_directions_agree_around_every_change_of_the_clock() {
        for zone in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo"] {
            for cron in [
                "30 2 * * *",
                "0 2 * * *",
                "15 1 * * *",
                "*/30 * * * *",
                "0 0 * * *",
                "30 1,2 * * *",
            ] {
                let table = table(cron, zone);
                let (begin, end) = (at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z"));
                let times: Vec<_> = table.from(begin).take_while(|time| *time < end).collect();
                assert!(times.len() >= 364, "{zone} {cron}: {}", times.len());
                for pair in times.windows(2) {
                    assert!(pair[0] < pair[1], "{zone} {cron}: {pair:?}");
                    let before = pair[1] - SignedDuration::from_secs(1);
                    assert_eq!(
                        table.until(before),
                        Some(pair[0]),
                        "{zone} {cron} before {}",
                        pair[1]
                    );
                    assert_eq!(table.until(pair[0]), Some(pair[0]), "{zone} {cron}");
                }
            }
        }
    }
}
