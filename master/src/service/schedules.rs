//! Creates, lists, pauses and removes schedules. What happens when a schedule is due is in
//! `schedule_step.rs`.

use jiff::{
    Timestamp,
    tz::{TimeZone, TimeZoneDatabase},
};
use orchestra_contracts::{
    FieldError, JobSpec, NewSchedule, Schedule, ScheduleChange, ScheduleName, limits,
};

use super::{Service, ServiceError, vault};
use crate::{
    domain::Timetable,
    store::{Added, ScheduleRecord},
};

const CRON_HINT: &str = "write minute, hour, day of the month, month and day of the week, as in \
    \"30 6 * * mon-fri\", or @hourly, @daily, @weekly, @monthly or @yearly";
const ZONE_HINT: &str = "write a name of the IANA's, like Europe/Berlin, or leave it out for UTC";
/// How many upcoming times are shown.
const SHOWN_TIMES: usize = 3;

impl Service {
    /// Stores a schedule. Its first time is the next one from now on.
    pub async fn add_schedule(&self, mut what: NewSchedule) -> Result<Schedule, ServiceError> {
        let mut errors = self.schedule_refusals(&what);
        let (table, hint) = match table_of(&what) {
            Ok(table) => (Some(table), None),
            Err((error, hint)) => {
                errors.insert(0, error);
                (None, Some(hint))
            }
        };
        let now = self.clock.now();
        let next_at = table.and_then(|table| table.after(now));
        match hint {
            Some(hint) => return Err(ServiceError::Untimely { errors, hint }),
            None if !errors.is_empty() => return Err(ServiceError::Invalid(errors)),
            None if next_at.is_none() => {
                let errors = vec![at("/cron", "names no time that will ever come")];
                return Err(ServiceError::Untimely { errors, hint: CRON_HINT });
            }
            None => {}
        }
        self.check_offers(&what.spec).await.map_err(within_spec)?;
        self.vault.seal(&mut what.spec);
        let record = ScheduleRecord::new(what, next_at, now);
        match self.store.add_schedule(record.clone()).await? {
            Added::New => {}
            Added::Exists => return Err(ServiceError::ScheduleExists(record.what.name)),
            Added::Full => return Err(ServiceError::TooManySchedules),
        }
        tracing::info!(schedule = %record.what.name, cron = record.what.cron, "a schedule was made");
        Ok(shown(record, now))
    }

    /// All schedules, by name.
    pub async fn schedules(&self) -> Result<Vec<Schedule>, ServiceError> {
        let now = self.clock.now();
        let records = self.store.schedules().await?;
        Ok(records.into_iter().map(|record| shown(record, now)).collect())
    }

    pub async fn schedule(&self, name: ScheduleName) -> Result<Schedule, ServiceError> {
        let record = self.store.schedule(&name).await?;
        let record = record.ok_or(ServiceError::NoSuchSchedule(name))?;
        Ok(shown(record, self.clock.now()))
    }

    /// Pauses or resumes a schedule. A time that comes while it is paused is skipped.
    pub async fn change_schedule(
        &self,
        name: ScheduleName,
        change: ScheduleChange,
    ) -> Result<Schedule, ServiceError> {
        let now = self.clock.now();
        let record = self.store.change_schedule(&name, change, now).await?;
        let record = record.ok_or(ServiceError::NoSuchSchedule(name))?;
        let paused = record.paused_since.is_some();
        tracing::info!(schedule = %record.what.name, paused, "a schedule was changed");
        Ok(shown(record, now))
    }

    /// Removes a schedule. Its jobs stay, and go on if they run.
    pub async fn remove_schedule(&self, name: ScheduleName) -> Result<(), ServiceError> {
        if !self.store.remove_schedule(&name).await? {
            return Err(ServiceError::NoSuchSchedule(name));
        }
        tracing::info!(schedule = %name, "a schedule was removed");
        Ok(())
    }

    /// What is wrong with a schedule, apart from its times.
    fn schedule_refusals(&self, what: &NewSchedule) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if what.catch_up > limits::DELAY {
            errors.push(at("/catchUp", format!("is longer than {}", limits::DELAY)));
        }
        if what.spec.not_before.is_some() {
            let detail = "says when, as the schedule does; leave it out, or take delay";
            errors.push(at("/spec/notBefore", detail));
        }
        for (condition, _) in what.spec.waits_for().take(1) {
            let detail =
                "names jobs, of which there are none when its time comes again; leave it out";
            errors.push(at(&format!("/spec/{}", condition.field()), detail));
        }
        if what.spec.array.is_some() {
            let detail =
                "makes many jobs, and a time of a schedule begins one; let that one submit them";
            errors.push(at("/spec/array", detail));
        }
        for (place, _) in
            what.spec.files.iter().enumerate().filter(|(_, file)| file.upload.is_some())
        {
            let detail = "is kept for jobs, not for schedules; give its content as text or base64";
            errors.push(at(&format!("/spec/files/{place}/upload"), detail));
        }
        if what.spec.labels.contains_key(NewSchedule::LABEL) {
            let detail = "is the label that the schedule gives its jobs; leave it out";
            errors.push(at("/spec/labels/schedule", detail));
        }
        let of_spec = self.refusals(&labelled(&what.name, what.spec.clone()));
        errors.extend(of_spec.into_iter().map(in_spec));
        errors
    }
}

/// The times of a schedule, or what is wrong with them.
pub(super) fn table_of(what: &NewSchedule) -> Result<Timetable, (FieldError, &'static str)> {
    let zone =
        zone(&what.time_zone).ok_or_else(|| (at("/timeZone", "is no time zone"), ZONE_HINT))?;
    Timetable::new(&what.cron, zone).map_err(|detail| (at("/cron", detail), CRON_HINT))
}

/// Looks a time zone up, in the system's database or in the one that the master was built with.
fn zone(name: &str) -> Option<TimeZone> {
    // They stand beside the zones, and are others on every machine.
    if ["localtime", "posixrules"].iter().any(|file| file.eq_ignore_ascii_case(name)) {
        return None;
    }
    let zone = TimeZone::get(name).or_else(|_| TimeZoneDatabase::bundled().get(name));
    zone.ok().filter(|zone| !zone.is_unknown())
}

/// The spec, as the jobs of the schedule get it.
pub(super) fn labelled(name: &ScheduleName, mut spec: JobSpec) -> JobSpec {
    spec.labels.insert(NewSchedule::LABEL.to_owned(), name.to_string());
    spec
}

fn at(pointer: &str, detail: impl Into<String>) -> FieldError {
    FieldError { pointer: pointer.to_owned(), detail: detail.into() }
}

fn in_spec(error: FieldError) -> FieldError {
    FieldError { pointer: format!("/spec{}", error.pointer), ..error }
}

fn within_spec(error: ServiceError) -> ServiceError {
    match error {
        ServiceError::Unsatisfiable { errors, best } => {
            ServiceError::Unsatisfiable { errors: errors.into_iter().map(in_spec).collect(), best }
        }
        other => other,
    }
}

fn shown(record: ScheduleRecord, now: Timestamp) -> Schedule {
    let ScheduleRecord { mut what, newest_skip, .. } = record;
    let table = table_of(&what).ok();
    vault::hide(&mut what.spec);
    let (skipped_time, skipped_reason) = newest_skip.map(|skip| (skip.time, skip.reason)).unzip();
    let (last_time, last_job) = record.last.unzip();
    Schedule {
        what,
        paused: record.paused_since.is_some(),
        paused_since: record.paused_since,
        next_times: table.iter().flat_map(|table| table.from(now).take(SHOWN_TIMES)).collect(),
        last_time,
        last_job,
        skipped: record.skipped,
        skipped_time,
        skipped_reason,
        created_at: record.created_at,
    }
}
