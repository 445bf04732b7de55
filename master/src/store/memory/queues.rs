//! The rules of queues, and drained workers.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use jiff::Timestamp;
use orchestra_contracts::{QueueChange, QueueName, WorkerName};

use super::tables::Tables;
use crate::{
    domain::{Job, JobState, QueueRules},
    store::{Drained, QueueRecord},
};

impl Tables {
    pub(super) fn change_queue(
        &mut self,
        name: &QueueName,
        change: QueueChange,
        now: Timestamp,
    ) -> QueueRules {
        let rules = self.queues.entry(name.clone()).or_default();
        *rules = rules.changed(change, now);
        *rules
    }

    pub(super) fn queues(&self) -> Vec<QueueRecord> {
        let record = |(name, rules): (&QueueName, &QueueRules)| {
            let record = QueueRecord { name: name.clone(), rules: *rules, pending: 0, held: 0 };
            (name.clone(), record)
        };
        let mut all: BTreeMap<QueueName, QueueRecord> = self.queues.iter().map(record).collect();
        for entry in self.jobs.values().filter(|entry| !entry.job.status().is_final()) {
            let Ok(name) = entry.job.spec.queue.parse::<QueueName>() else { continue };
            let none = (name.clone(), QueueRules::default());
            let queue = all.entry(name).or_insert_with(|| {
                let (name, rules) = none;
                QueueRecord { name, rules, pending: 0, held: 0 }
            });
            match entry.job.lease() {
                Some(_) => queue.held += 1,
                None => queue.pending += 1,
            }
        }
        all.into_values().collect()
    }

    pub(super) fn ahead(&self, job: &Job) -> u64 {
        let place = |job: &Job| (Reverse(job.spec.priority), job.id);
        let waits = |other: &&Job| {
            matches!(other.state, JobState::Pending { not_before: None, hold: None, .. })
                && other.spec.queue == job.spec.queue
                && place(other) < place(job)
        };
        self.jobs.values().map(|entry| &entry.job).filter(waits).count() as u64
    }

    /// How many more jobs may be handed out, of the queues that have a bound.
    pub(super) fn room(&self) -> HashMap<String, usize> {
        let held = |name: &QueueName| {
            let of_it = self.jobs.values().filter(|entry| entry.job.spec.queue == name.as_str());
            of_it.filter(|entry| entry.job.lease().is_some()).count()
        };
        let room = |(name, rules): (&QueueName, &QueueRules)| {
            Some((name.as_str().to_owned(), rules.room(held(name))?))
        };
        self.queues.iter().filter_map(room).collect()
    }

    pub(super) fn drain(
        &mut self,
        worker: &WorkerName,
        draining: bool,
        now: Timestamp,
    ) -> Option<Drained> {
        let record = self.workers.get_mut(worker)?;
        record.draining_since = draining.then(|| record.draining_since.unwrap_or(now));
        Some(record.draining_since)
    }

    pub(super) fn is_drained(&self, worker: &WorkerName) -> bool {
        self.workers.get(worker).is_some_and(|record| record.draining_since.is_some())
    }
}
