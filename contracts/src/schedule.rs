//! Schedules: jobs that start at calendar times.
//!
//! ```text
//! POST   /api/schedule         NewSchedule    -> Schedule
//! GET    /api/schedule                        -> [Schedule]
//! GET    /api/schedule/{name}                 -> Schedule
//! PATCH  /api/schedule/{name}  ScheduleChange -> Schedule
//! DELETE /api/schedule/{name}
//! ```

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{JobId, JobSpec, ScheduleName, Span, object};

/// Creates a schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewSchedule {
    pub name: ScheduleName,
    /// Five fields, minute to day of the week, or a word like `@daily`.
    pub cron: String,
    /// The IANA name of the time zone that the expression is in.
    #[serde(default = "utc")]
    pub time_zone: String,
    #[serde(default)]
    pub overlap: Overlap,
    /// If start times were missed, the newest one is made up for, unless it is older than this.
    #[serde(default = "catch_up")]
    pub catch_up: Span,
    /// The spec of each of its jobs. They carry the label `schedule` with the schedule's name.
    #[serde(deserialize_with = "object::only")]
    pub spec: JobSpec,
}

fn utc() -> String {
    "UTC".to_owned()
}

fn catch_up() -> Span {
    NewSchedule::CATCH_UP
}

impl NewSchedule {
    /// The label on its jobs.
    pub const LABEL: &str = "schedule";
    /// The default of `catch_up`.
    pub const CATCH_UP: Span = Span::from_secs(3600);
    /// The longest cron expression; none needs more.
    pub const CRON_BYTES: usize = 256;

    /// A schedule with only the required fields set.
    pub fn new(name: ScheduleName, cron: impl Into<String>, spec: JobSpec) -> Self {
        let (cron, time_zone) = (cron.into(), utc());
        Self { name, cron, time_zone, overlap: Overlap::default(), catch_up: catch_up(), spec }
    }
}

/// What happens at a start time while the schedule's previous job has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// The new job starts beside it.
    Allow,
    /// No job starts; the time is skipped.
    #[default]
    Skip,
    /// The previous job is cancelled, and the new one starts when it has ended.
    Replace,
}

impl Overlap {
    pub const ALL: [Self; 3] = [Self::Allow, Self::Skip, Self::Replace];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Skip => "skip",
            Self::Replace => "replace",
        }
    }
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Overlap {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|overlap| overlap.as_str() == text);
        known.ok_or("an overlap policy is allow, skip or replace")
    }
}

/// A schedule as the API returns it: the fields of the request, followed by its current state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    #[serde(flatten)]
    pub what: NewSchedule,
    /// No jobs start; those already started continue.
    pub paused: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_since: Option<Timestamp>,
    /// The next three start times from now, whether it is paused or not.
    pub next_times: Vec<Timestamp>,
    /// The newest time at which a job was started, and the job, which may have been deleted since.
    pub last_time: Option<Timestamp>,
    pub last_job: Option<JobId>,
    /// How many start times passed without a job.
    pub skipped: u64,
    /// The newest skipped time, and the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped_time: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped_reason: Option<String>,
    pub created_at: Timestamp,
}

/// The body of `PATCH /api/schedule/{name}`. Absent fields stay unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScheduleChange {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<NewSchedule, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn name_times_and_command_are_enough() {
        let json = r#"{"name": "nightly", "cron": "@daily", "spec": {"command": "true"}}"#;
        let name = "nightly".parse().unwrap();
        assert_eq!(read(json), Ok(NewSchedule::new(name, "@daily", JobSpec::new("true"))));
        let expected = (Overlap::Skip, Span::from_secs(3600), "UTC".to_owned());
        let schedule = read(json).unwrap();
        assert_eq!((schedule.overlap, schedule.catch_up, schedule.time_zone), expected);
    }

    #[test]
    fn what_is_unknown_is_refused() {
        for (json, reason) in [
            (r#"{"name": "a b", "cron": "@daily", "spec": {"command": "x"}}"#, "1 to 63 letters"),
            (r#"{"name": "a", "cron": "@daily", "spec": ["x"]}"#, "expected an object"),
            (r#"{"name": "a", "cron": "@daily", "spec": {"command": "x"}, "tz": ""}"#, "`tz`"),
            (r#"{"name": "a", "cron": "@daily", "spec": {"comand": "x"}}"#, "`comand`"),
            (r#"{"name": "a", "cron": "@daily", "overlap": "Skip"}"#, "unknown variant"),
        ] {
            let refused = read(json).unwrap_err();
            assert!(refused.contains(reason), "{json}: {refused}");
        }
    }

    #[test]
    fn policies_are_read_as_they_are_written() {
        for overlap in Overlap::ALL {
            assert_eq!(overlap.to_string().parse(), Ok(overlap));
            assert_eq!(serde_json::to_value(overlap).unwrap(), overlap.as_str());
        }
        assert!("wait".parse::<Overlap>().is_err());
    }
}
