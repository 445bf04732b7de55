//! Lists jobs: any filter, one page at a time.

use std::cmp::Reverse;

use orchestra_contracts::WorkerName;

use super::tables::Tables;
use crate::{
    domain::Job,
    store::{JobFilter, ListOrder},
};

impl Tables {
    pub(super) fn list(&self, filter: &JobFilter) -> Vec<Job> {
        let jobs = self.jobs.values().map(|entry| &entry.job);
        let mut jobs: Vec<&Job> = jobs.filter(|job| fits(job, filter)).collect();
        match filter.order {
            ListOrder::Oldest => {
                jobs.retain(|job| filter.after.is_none_or(|after| job.id > after));
            }
            ListOrder::Newest => {
                jobs.retain(|job| filter.after.is_none_or(|after| job.id < after));
                jobs.reverse();
            }
            ListOrder::Claiming => {
                let place = |job: &Job| (Reverse(job.spec.priority), job.id);
                jobs.sort_by_key(|job| place(job));
                if let Some(after) = filter.after {
                    let after = self.job(after).map(place);
                    jobs.retain(|job| after.is_some_and(|after| place(job) > after));
                }
            }
        }
        jobs.into_iter().take(filter.limit as usize).cloned().collect()
    }
}

fn fits(job: &Job, filter: &JobFilter) -> bool {
    let spec = &job.spec;
    let has = |(key, value): &(String, String)| spec.labels.get(key) == Some(value);
    (filter.statuses.is_empty() || filter.statuses.contains(&job.status()))
        && filter.queue.as_ref().is_none_or(|queue| *queue == spec.queue)
        && filter.labels.iter().all(has)
        && filter.worker.as_ref().is_none_or(|worker| worker_of(job) == Some(worker))
        && filter.array.is_none_or(|array| job.array() == Some(array))
        && filter.text.as_ref().is_none_or(|text| {
            contains(&spec.command, text)
                || spec.name.as_ref().is_some_and(|name| contains(name, text))
        })
}

/// The worker that holds it, or that held it last.
fn worker_of(job: &Job) -> Option<&WorkerName> {
    match job.lease() {
        Some(lease) => Some(&lease.worker),
        None => job.finish()?.worker.as_ref(),
    }
}

fn contains(text: &str, part: &str) -> bool {
    text.to_ascii_lowercase().contains(&part.to_ascii_lowercase())
}
