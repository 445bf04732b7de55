//! The tables, and the one place that changes them.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use jiff::Timestamp;
use orchestra_contracts::{
    Attempt, AttemptNo, JobId, JobStatus, LeaseToken, Outcome, QueueName, ScheduleName, TokenId,
    WorkerName,
    worker::{LeaseRef, LogHead, Registration},
};

use super::{artifacts::Files, submit::Submissions, uploads::Uploads, webhooks::Webhooks};
use crate::{
    domain::{
        self, AttemptResults, Effects, Finish, Job, JobEvent, JobState, Lease, LeasePolicy, NewJob,
        QueueRules, Rules, Stop, Verdict,
    },
    store::{
        Appended, Applied, LogAppend, LogChunk, Order, Renewal, ScheduleRecord, TokenGrant,
        TokenRecord, WorkerRecord,
        jitter::spread,
        placement::{Placement, place},
    },
};

#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) jobs: BTreeMap<JobId, Entry>,
    /// Ids are never given twice, also when their jobs were deleted.
    last_id: i64,
    /// Who waited for whom, and does no more.
    pub(super) met: BTreeSet<(JobId, JobId)>,
    pub(super) submissions: Submissions,
    pub(super) workers: BTreeMap<WorkerName, WorkerRecord>,
    pub(super) queues: BTreeMap<QueueName, QueueRules>,
    pub(super) schedules: BTreeMap<ScheduleName, ScheduleRecord>,
    /// Which jobs are a schedule's; those that were deleted stand there still.
    pub(super) scheduled: BTreeMap<JobId, ScheduleName>,
    /// The first has the number 1.
    pub(super) tokens: Vec<TokenRecord>,
    pub(super) webhooks: Webhooks,
    pub(super) uploads: Uploads,
}

/// A job with its attempts, oldest first.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) job: Job,
    pub(super) attempts: Vec<Kept>,
}

/// An attempt and its log.
#[derive(Debug)]
pub(super) struct Kept {
    shown: Attempt,
    pub(super) claim_request: Option<String>,
    pub(super) head: LogHead,
    pub(super) chunks: Vec<LogChunk>,
    pub(super) files: Files,
}

impl Tables {
    /// Adds jobs as they are when nothing that they wait for has ended.
    pub(super) fn insert(&mut self, new: &[NewJob], now: Timestamp) -> Vec<JobId> {
        let ids: Vec<JobId> = (self.last_id + 1..).take(new.len()).map(JobId).collect();
        self.last_id += new.len() as i64;
        for (id, new) in ids.iter().zip(new) {
            let job = Job::submitted(*id, new, &ids, now);
            self.jobs.insert(*id, Entry { job, attempts: Vec::new() });
        }
        ids
    }

    /// Applies an event to a job, and to those that wait for its end; `None` if there is no such
    /// job.
    pub(super) fn apply(&mut self, id: JobId, event: JobEvent, rules: &Rules) -> Option<Applied> {
        let before = self.job(id)?.clone();
        let mut applied = self.move_one(id, event, rules)?;
        let now = self.job(id).map_or(JobStatus::Cancelled, Job::status);
        if now.is_final() && !before.status().is_final() {
            applied.along = self.release(&before, now, rules.now);
        }
        Some(applied)
    }

    pub(super) fn move_one(
        &mut self,
        id: JobId,
        event: JobEvent,
        rules: &Rules,
    ) -> Option<Applied> {
        let entry = self.jobs.get_mut(&id)?;
        let ran = match &event {
            JobEvent::Started { ran, .. }
            | JobEvent::Ended { results: AttemptResults { ran, .. }, .. } => ran.clone(),
            _ => None,
        };
        let (event, results) = entry.compare(event);
        let (next, effects) = match domain::apply(&entry.job, event, rules) {
            Verdict::Moved(next, effects) => (*next, effects),
            Verdict::AlreadyTrue => {
                return Some(Applied::new(entry.job.clone(), Ok(Effects::default())));
            }
            Verdict::Refused(refusal) => {
                return Some(Applied::new(entry.job.clone(), Err(refusal)));
            }
        };
        if effects.delete {
            let job = self.jobs.remove(&id)?.job;
            return Some(Applied::new(job, Ok(effects)));
        }
        entry.keep(&next, effects.attempt_ended.as_ref());
        if let (Some(kept), Some(ran)) = (entry.attempts.last_mut(), ran) {
            kept.shown.ran = Some(*ran);
        }
        if let (Some(kept), true) = (entry.attempts.last_mut(), effects.attempt_ended.is_some()) {
            kept.files.end(results);
        }
        entry.job = next.clone();
        self.webhooks.note_end(&next);
        Some(Applied::new(next, Ok(effects)))
    }

    pub(super) fn expire(&mut self, rules: &Rules, limit: usize) -> Vec<Applied> {
        let expires = |entry: &Entry| Some((entry.job.lease()?.expires_at, entry.job.id));
        let mut due: Vec<_> = self.jobs.values().filter_map(expires).collect();
        due.retain(|(at, _)| *at <= rules.now);
        due.sort_unstable();
        let expire = |(_, id): (_, JobId)| {
            let rules = Rules { jitter: spread(rules.jitter, id.0), ..*rules };
            self.apply(id, JobEvent::LeaseExpired, &rules)
        };
        due.into_iter().take(limit).filter_map(expire).collect()
    }

    /// A renewal never shortens a lease.
    pub(super) fn renew(
        &mut self,
        worker: &WorkerName,
        leases: &[LeaseRef],
        policy: LeasePolicy,
        now: Timestamp,
    ) -> Renewal {
        let seen = self.workers.get_mut(worker);
        let mut renewal = Renewal { unknown: seen.is_none(), ..Renewal::default() };
        if let Some(record) = seen {
            record.seen_at = record.seen_at.max(now);
        }
        for lease in leases {
            let entry = self.jobs.get_mut(&lease.job);
            let lasts = policy.of(entry.as_ref().and_then(|entry| entry.job.spec.lease));
            let held = entry.and_then(|it| it.held_as(worker, lease.attempt, &lease.token));
            let Some(held) = held else {
                renewal.lost.push(lease.job);
                continue;
            };
            let until = now.as_millisecond().saturating_add(lasts.as_millis());
            let until = Timestamp::from_millisecond(until).unwrap_or(now);
            held.expires_at = held.expires_at.max(until);
            if held.stop != Stop::No {
                renewal.stop.push(lease.job);
            }
            if lasts > policy.base {
                renewal.longer.push((lease.job, lasts));
            }
        }
        renewal
    }

    pub(super) fn append(&mut self, append: &LogAppend) -> Appended {
        let Some(entry) = self.jobs.get_mut(&append.job) else { return Appended::NoSuchJob };
        let proof = &append.proof;
        let names_it = proof.attempt.is_none_or(|attempt| attempt == append.attempt);
        let held = entry.held_as(&proof.worker, append.attempt, &proof.token).is_some();
        let Some(kept) = entry.attempts.last_mut().filter(|_| held && names_it) else {
            return Appended::LeaseLost;
        };
        match place(kept.head, append.offset, &append.frames) {
            Placement::Known => {}
            Placement::Misplaced => return Appended::Misplaced(kept.head),
            Placement::New { chunk, head } => {
                kept.chunks.push(chunk);
                kept.head = head;
                entry.job.log = head;
            }
        }
        Appended::Stored(kept.head)
    }

    pub(super) fn register(
        &mut self,
        name: &WorkerName,
        registration: Registration,
        now: Timestamp,
    ) {
        let running = Vec::new();
        let draining_since = self.workers.get(name).and_then(|before| before.draining_since);
        let record = WorkerRecord {
            name: name.clone(),
            registration,
            registered_at: now,
            seen_at: now,
            running,
            draining_since,
        };
        self.workers.insert(name.clone(), record);
    }

    pub(super) fn workers(&self) -> Vec<WorkerRecord> {
        let holds = |record: &WorkerRecord, job: &Job| {
            job.lease().is_some_and(|lease| lease.worker == record.name)
        };
        let show = |record: &WorkerRecord| {
            let held = self.jobs.values().filter(|entry| holds(record, &entry.job));
            WorkerRecord { running: held.map(|entry| entry.job.id).collect(), ..record.clone() }
        };
        self.workers.values().map(show).collect()
    }

    pub(super) fn add_token(&mut self, grant: TokenGrant, now: Timestamp) -> TokenRecord {
        let id = TokenId(self.tokens.len() as i64 + 1);
        let token = TokenRecord { id, grant, created_at: now, revoked_at: None };
        self.tokens.push(token.clone());
        token
    }

    pub(super) fn revoke_token(&mut self, id: TokenId, now: Timestamp) -> Option<TokenRecord> {
        let token = self.tokens.iter_mut().find(|token| token.id == id)?;
        token.revoked_at.get_or_insert(now);
        Some(token.clone())
    }

    pub(super) fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id).map(|entry| &entry.job)
    }

    pub(super) fn attempts(&self, id: JobId) -> Vec<Attempt> {
        let kept = self.jobs.get(&id).map(|entry| entry.attempts.as_slice()).unwrap_or_default();
        let show = |kept: &Kept| Attempt { log_bytes: kept.head.output, ..kept.shown.clone() };
        kept.iter().map(show).collect()
    }

    pub(super) fn kept(&self, id: JobId, attempt: AttemptNo) -> Option<&Kept> {
        let place = (attempt.0 as usize).checked_sub(1)?;
        self.jobs.get(&id)?.attempts.get(place)
    }

    pub(super) fn log_head(&self, id: JobId, attempt: AttemptNo) -> Option<LogHead> {
        self.kept(id, attempt).map(|kept| kept.head)
    }

    pub(super) fn log_chunks(
        &self,
        id: JobId,
        attempt: AttemptNo,
        range: &Range<u64>,
        order: Order,
        limit: usize,
    ) -> Vec<LogChunk> {
        let end = |chunk: &LogChunk| chunk.offset + chunk.frames.len() as u64;
        let touches = |chunk: &&LogChunk| chunk.offset < range.end && end(chunk) > range.start;
        let chunks = self.kept(id, attempt).map(|kept| kept.chunks.as_slice()).unwrap_or_default();
        let found = chunks.iter().filter(touches).cloned();
        match order {
            Order::Ascending => found.take(limit).collect(),
            Order::Descending => found.rev().take(limit).collect(),
        }
    }
}

impl Entry {
    /// The event as the machine has to know it, and what it says of files.
    fn compare(&self, event: JobEvent) -> (JobEvent, AttemptResults) {
        let JobEvent::Ended { proof, outcome, usage, log, tail, results } = event else {
            return (event, AttemptResults::default());
        };
        let none = Files::default();
        let results = self.attempts.last().map_or(&none, |kept| &kept.files).compare(results);
        let event = JobEvent::Ended { proof, outcome, usage, log, tail, results: results.clone() };
        (event, results)
    }

    /// Keeps what the machine says of the newest attempt.
    fn keep(&mut self, next: &Job, finish: Option<&Finish>) {
        let Some(lease) = next.lease().or(self.job.lease()) else { return };
        let known = self.attempts.len() == next.attempts as usize;
        if !known {
            self.attempts.push(Kept::begun(AttemptNo(next.attempts), lease));
        }
        let Some(kept) = self.attempts.last_mut() else { return };
        kept.shown.started_at = match finish {
            Some(finish) => finish.started_at,
            None => next.started_at(),
        };
        if let Some(finish) = finish {
            kept.shown.finished_at = Some(finish.finished_at);
            kept.shown.reason = Some(finish.outcome.to_string());
            kept.shown.exit_code = Outcome::exit_code(&finish.outcome);
            kept.shown.outcome = Some(finish.outcome.clone());
            kept.shown.usage = finish.usage;
        }
    }

    /// The lease, when it is on this attempt and this proves it.
    pub(super) fn held_as(
        &mut self,
        worker: &WorkerName,
        attempt: AttemptNo,
        token: &LeaseToken,
    ) -> Option<&mut Lease> {
        let newest = self.job.attempts == attempt.0;
        let lease = match &mut self.job.state {
            JobState::Assigned { lease } | JobState::Running { lease, .. } => lease,
            JobState::Pending { .. } | JobState::Finished { .. } => return None,
        };
        (newest && lease.worker == *worker && lease.token == *token).then_some(lease)
    }
}

impl Kept {
    fn begun(number: AttemptNo, lease: &Lease) -> Self {
        let shown = Attempt {
            number,
            worker: lease.worker.clone(),
            claimed_at: lease.claimed_at,
            started_at: None,
            finished_at: None,
            outcome: None,
            reason: None,
            exit_code: None,
            usage: None,
            log_bytes: 0,
            queued_ms: None,
            ran: None,
        };
        let (head, chunks) = (LogHead::default(), Vec::new());
        Self { shown, claim_request: None, head, chunks, files: Files::default() }
    }

    /// Whether it has not ended and was begun for this request.
    pub(super) fn answers(&self, request: &str) -> bool {
        self.shown.finished_at.is_none() && self.claim_request.as_deref() == Some(request)
    }
}
