//! Schedules and their steps.

use jiff::Timestamp;
use orchestra_contracts::{JobId, ScheduleChange, ScheduleName};

use super::tables::Tables;
use crate::{
    domain::{NewJob, Turn},
    store::{Added, MAX_SCHEDULES, ScheduleRecord, Step, Stepped},
};

impl Tables {
    pub(super) fn add_schedule(&mut self, schedule: ScheduleRecord) -> Added {
        let name = schedule.what.name.clone();
        if self.schedules.contains_key(&name) {
            return Added::Exists;
        }
        if self.schedules.len() >= MAX_SCHEDULES as usize {
            return Added::Full;
        }
        self.schedules.insert(name, schedule);
        Added::New
    }

    pub(super) fn change_schedule(
        &mut self,
        name: &ScheduleName,
        change: ScheduleChange,
        now: Timestamp,
    ) -> Option<ScheduleRecord> {
        let record = self.schedules.get_mut(name)?;
        if let Some(paused) = change.paused {
            record.paused_since = paused.then(|| record.paused_since.unwrap_or(now));
        }
        Some(record.clone())
    }

    pub(super) fn step_schedule(&mut self, step: &Step) -> Stepped {
        let due = self.schedules.get(&step.name).is_some_and(|record| {
            record.created_at == step.created_at
                && record.next_at == Some(step.was)
                && record.paused_since.is_none()
        });
        if !due {
            return Stepped::NotDue;
        }
        let open = self.open_jobs_of(&step.name);
        let (turn, step) = step.meet(&open);
        if turn == Turn::Wait {
            return Stepped::Waits(open);
        }
        let begun = step.begin.and_then(|begin| {
            let id = self.insert(&[NewJob::from(begin.spec)], step.now).pop()?;
            self.scheduled.insert(id, step.name.clone());
            Some((begin.time, self.job(id)?.clone()))
        });
        if let Some(record) = self.schedules.get_mut(&step.name) {
            record.next_at = step.next;
            record.last = begun.as_ref().map(|(time, job)| (*time, job.id)).or(record.last);
            record.skipped += step.skipped;
            record.newest_skip = step.newest_skip.or(record.newest_skip.take());
        }
        Stepped::Done(begun.map(|(_, job)| Box::new(job)))
    }

    fn open_jobs_of(&self, schedule: &ScheduleName) -> Vec<JobId> {
        let of_it = self.scheduled.iter().filter(|(_, name)| *name == schedule);
        let is_open = |id: &JobId| self.job(*id).is_some_and(|job| !job.status().is_final());
        of_it.map(|(id, _)| *id).filter(is_open).collect()
    }

    pub(super) fn due_schedules(
        &self,
        now: Timestamp,
        after: Option<&(Timestamp, ScheduleName)>,
        limit: usize,
    ) -> Vec<ScheduleRecord> {
        let place = |record: &ScheduleRecord| Some((record.next_at?, record.what.name.clone()));
        let is_due = |record: &&ScheduleRecord| {
            record.paused_since.is_none()
                && record.next_at.is_some_and(|time| time <= now)
                && place(record).as_ref() > after
        };
        let mut due: Vec<_> = self.schedules.values().filter(is_due).cloned().collect();
        due.sort_by_key(place);
        due.truncate(limit);
        due
    }
}
