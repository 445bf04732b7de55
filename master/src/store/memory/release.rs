//! Dependencies and arrays: releases the jobs that an end or a submission sets free, and ends those
//! that it makes impossible.

use std::collections::{BTreeSet, VecDeque};

use jiff::Timestamp;
use orchestra_contracts::{Condition, JobId, JobRef, JobStatus};

use super::tables::Tables;
use crate::domain::{Hold, Job, JobEvent, JobState, RetryPolicy, Rules};

impl Tables {
    /// What follows from the end, or the deletion, of a job; answers who moved.
    pub(super) fn release(&mut self, ended: &Job, how: JobStatus, now: Timestamp) -> Vec<JobId> {
        let mut moved = BTreeSet::new();
        let mut ends = VecDeque::from([(ended.id, how)]);
        let mut arrays: BTreeSet<JobId> = ended.array().into_iter().collect();
        while let Some((id, how)) = ends.pop_front() {
            let waiters =
                self.jobs.values().map(|entry| &entry.job).filter(|job| waits_for(job, id));
            for waiter in waiters.map(|job| job.id).collect::<Vec<_>>() {
                self.decide(waiter, Some((id, how)), now, &mut moved, &mut ends, &mut arrays);
            }
        }
        self.turns(arrays, now, &mut moved);
        moved.into_iter().collect()
    }

    /// The same for jobs that are new; of these some may be free at once, others impossible.
    pub(super) fn release_new(&mut self, new: &[JobId], now: Timestamp) {
        let (mut moved, mut ends) = (BTreeSet::new(), VecDeque::new());
        let jobs = new.iter().filter_map(|id| self.job(*id));
        let mut arrays: BTreeSet<JobId> = jobs.filter_map(Job::array).collect();
        for id in new {
            self.decide(*id, None, now, &mut moved, &mut ends, &mut arrays);
        }
        for (id, how) in ends {
            let Some(job) = self.job(id).cloned() else { continue };
            self.release(&job, how, now);
        }
        self.turns(arrays, now, &mut moved);
    }

    /// Lets a job go on if it may, or ends it if it never can. One that was deleted is missing.
    fn decide(
        &mut self,
        id: JobId,
        just: Option<(JobId, JobStatus)>,
        now: Timestamp,
        moved: &mut BTreeSet<JobId>,
        ends: &mut VecDeque<(JobId, JobStatus)>,
        arrays: &mut BTreeSet<JobId>,
    ) {
        let Some(job) = self.job(id) else { return };
        if !matches!(job.state, JobState::Pending { hold: Some(Hold::Jobs), .. }) {
            return;
        }
        let met_before = |upstream| self.met.contains(&(id, upstream));
        let upstreams = job.spec.waits_for().filter_map(|(needs, job)| Some((needs, job.id()?)));
        let ended = |(needs, upstream): (Condition, JobId)| {
            let known = just.filter(|(just, _)| *just == upstream).map(|(_, how)| how);
            let status = known.or_else(|| self.job(upstream).map(Job::status));
            (needs, upstream, status.unwrap_or(JobStatus::Cancelled))
        };
        let open = upstreams.filter(|(_, upstream)| !met_before(*upstream)).map(ended);
        let (over, waiting): (Vec<_>, Vec<_>) = open.partition(|(.., ended)| ended.is_final());
        let (met, broken): (Vec<_>, Vec<_>) =
            over.into_iter().partition(|(needs, _, ended)| needs.is_met_by(*ended));
        let event = match broken.iter().min_by_key(|(_, upstream, _)| *upstream) {
            Some(&(needs, upstream, ended)) => {
                Some(JobEvent::Skipped { job: upstream, ended, needs })
            }
            None => {
                waiting.is_empty().then(|| JobEvent::Freed { hold: Hold::past_jobs(&job.spec) })
            }
        };
        arrays.extend(job.array());
        self.met.extend(met.into_iter().map(|(_, upstream, _)| (id, upstream)));
        let Some(event) = event else { return };
        self.move_one(id, event, &rules(now));
        moved.insert(id);
        if !broken.is_empty() {
            ends.push_back((id, JobStatus::Cancelled));
        }
    }

    fn turns(&mut self, arrays: BTreeSet<JobId>, now: Timestamp, moved: &mut BTreeSet<JobId>) {
        for id in arrays {
            let its =
                || self.jobs.values().map(|entry| &entry.job).filter(|job| job.array() == Some(id));
            let waits =
                |job: &&Job| matches!(job.state, JobState::Pending { hold: Some(Hold::Turn), .. });
            let under_way = |job: &&Job| {
                !job.status().is_final()
                    && !matches!(job.state, JobState::Pending { hold: Some(_), .. })
            };
            let Some(at_once) = its().find(waits).and_then(|job| job.spec.array.as_ref()?.at_once)
            else {
                continue;
            };
            let room = (at_once.get() as usize).saturating_sub(its().filter(under_way).count());
            let turns: Vec<JobId> = its().filter(waits).take(room).map(|job| job.id).collect();
            for id in turns {
                self.move_one(id, JobEvent::Freed { hold: None }, &rules(now));
                moved.insert(id);
            }
        }
    }
}

fn waits_for(job: &Job, upstream: JobId) -> bool {
    matches!(job.state, JobState::Pending { hold: Some(Hold::Jobs), .. })
        && job.spec.waits_for().any(|(_, job)| *job == JobRef::Id(upstream))
}

fn rules(now: Timestamp) -> Rules {
    Rules { now, retry: RetryPolicy::default(), jitter: 0.0 }
}
