//! Explains why a job waits: all causes, the most important first.

use jiff::Timestamp;
use orchestra_contracts::{
    AttemptNo, QueueName, WorkerName,
    explain::{Awaited, Cause, Lack, Mismatch},
};

use super::{Finish, Hold, Job, JobState, QueueRules};

/// What an explanation considers besides the job.
#[derive(Clone, Debug)]
pub struct ExplainContext {
    pub now: Timestamp,
    pub queue: QueueName,
    pub rules: QueueRules,
    /// Number of the queue's jobs that workers hold.
    pub held: u64,
    /// Number of the queue's jobs that are claimed before this one.
    pub ahead: u64,
    /// The workers that serve the queue.
    pub workers: Vec<WorkerMatch>,
    /// Jobs that it depends on and that have not ended.
    pub awaited: Vec<Awaited>,
}

/// At most this many workers or jobs are listed.
const NAMED: usize = 5;

/// A worker of the queue, whether it is online, and what keeps it from taking the job.
#[derive(Clone, Debug)]
pub struct WorkerMatch {
    pub worker: WorkerName,
    pub online: bool,
    pub lacks: Vec<Lack>,
    pub running: u64,
    pub slots: u64,
}

/// All causes that explain the job's state; never empty.
pub fn explain(job: &Job, context: ExplainContext) -> Vec<Cause> {
    match &job.state {
        JobState::Pending { not_before, hold, after } => {
            let mut causes = Vec::new();
            causes.extend(hold.and_then(|hold| held_back(job, hold, &context)));
            causes.extend(wait(job, not_before.filter(|time| *time > context.now), after.as_ref()));
            causes.extend(of_queue(&context));
            causes.extend(of_workers(&context));
            if context.ahead > 0 {
                causes.push(Cause::Ahead { queue: context.queue, jobs: context.ahead });
            }
            if causes.is_empty() {
                causes.push(Cause::Next);
            }
            causes
        }
        JobState::Assigned { lease } | JobState::Running { lease, .. } => vec![Cause::Held {
            worker: lease.worker.clone(),
            attempt: AttemptNo(job.attempts),
            since: lease.claimed_at,
            running: job.started_at(),
        }],
        JobState::Finished { finish } => {
            vec![Cause::Ended { at: finish.finished_at, outcome: finish.outcome.clone() }]
        }
    }
}

fn held_back(job: &Job, hold: Hold, context: &ExplainContext) -> Option<Cause> {
    Some(match hold {
        Hold::Jobs => Cause::After {
            jobs: context.awaited.iter().take(NAMED).cloned().collect(),
            count: context.awaited.len() as u64,
        },
        Hold::Turn => Cause::Turn {
            array: job.element?.array,
            at_once: job.spec.array.as_ref()?.at_once?.get(),
        },
    })
}

fn wait(job: &Job, until: Option<Timestamp>, after: Option<&Finish>) -> Option<Cause> {
    let at = until?;
    Some(match after {
        Some(finish) => {
            let (after, reason) = (AttemptNo(job.attempts), finish.outcome.to_string());
            Cause::Retry { at, after, reason }
        }
        None => Cause::NotBefore { at },
    })
}

fn of_queue(context: &ExplainContext) -> Option<Cause> {
    let queue = context.queue.clone();
    if let Some(since) = context.rules.paused_since {
        return Some(Cause::QueuePaused { queue, since });
    }
    let concurrency = context.rules.concurrency?;
    let running = context.held;
    (running >= u64::from(concurrency)).then_some(Cause::QueueFull { queue, concurrency, running })
}

fn of_workers(context: &ExplainContext) -> Option<Cause> {
    let queue = context.queue.clone();
    let online: Vec<&WorkerMatch> = context.workers.iter().filter(|it| it.online).collect();
    if online.is_empty() {
        return Some(Cause::NoWorker { queue, away: context.workers.len() as u64 });
    }
    let able: Vec<&WorkerMatch> = online.iter().copied().filter(|it| it.lacks.is_empty()).collect();
    if able.is_empty() {
        let mismatch =
            |it: &WorkerMatch| Mismatch { worker: it.worker.clone(), lacks: it.lacks.clone() };
        let workers = online.into_iter().map(mismatch).collect();
        return Some(Cause::NoMatch { queue, workers });
    }
    let is_full = able.iter().all(|it| it.running >= it.slots);
    let (workers, slots) = (able.len() as u64, able.iter().map(|it| it.slots).sum());
    is_full.then_some(Cause::Busy { workers, slots })
}

#[cfg(test)]
mod tests {
    use orchestra_contracts::{Condition, JobId, JobSpec, JobStatus, explain::LackOf};

    use super::*;
    use crate::domain::Element;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn worker_match(online: bool, lacks: Vec<Lack>, running: u64) -> WorkerMatch {
        WorkerMatch { worker: "w".parse().unwrap(), online, lacks, running, slots: 2 }
    }

    fn context(workers: Vec<WorkerMatch>) -> ExplainContext {
        let queue = "q".parse().unwrap();
        ExplainContext {
            now: at(10),
            queue,
            rules: QueueRules::default(),
            held: 0,
            ahead: 0,
            workers,
            awaited: vec![],
        }
    }

    fn codes(job: &Job, context: ExplainContext) -> Vec<String> {
        let code =
            |cause| serde_json::to_value(&cause).unwrap()["code"].as_str().unwrap().to_owned();
        explain(job, context).into_iter().map(code).collect()
    }

    fn waiting() -> Job {
        Job::new(JobId(1), JobSpec::new("true"), at(0))
    }

    #[test]
    fn each_thing_that_holds_a_job_up_is_told() {
        let lack = || vec![Lack { what: LackOf::Draining, text: "is being drained".into() }];
        let free = || vec![worker_match(true, vec![], 1)];
        let is =
            |context: ExplainContext, due: &[&str]| assert_eq!(codes(&waiting(), context), due);
        is(context(free()), &["next"]);
        is(context(vec![]), &["noWorker"]);
        is(context(vec![worker_match(false, vec![], 0)]), &["noWorker"]);
        is(
            context(vec![worker_match(true, lack(), 0), worker_match(false, vec![], 0)]),
            &["noMatch"],
        );
        is(context(vec![worker_match(true, vec![], 2), worker_match(true, lack(), 0)]), &["busy"]);
        is(context(vec![worker_match(true, vec![], 2), worker_match(true, vec![], 1)]), &["next"]);
        is(ExplainContext { ahead: 3, ..context(free()) }, &["ahead"]);
        let bound = QueueRules { concurrency: Some(2), ..QueueRules::default() };
        is(ExplainContext { rules: bound, held: 1, ..context(free()) }, &["next"]);
        is(ExplainContext { rules: bound, held: 2, ..context(free()) }, &["queueFull"]);
        let rules = QueueRules { paused_since: Some(at(5)), ..bound };
        is(
            ExplainContext { rules, held: 2, ahead: 1, ..context(vec![]) },
            &["queuePaused", "noWorker", "ahead"],
        );
    }

    #[test]
    fn what_other_jobs_hold_up_is_told_with_their_names() {
        let mut job = waiting();
        job.state = JobState::Pending { not_before: None, hold: Some(Hold::Jobs), after: None };
        let one = |job| Awaited {
            job: JobId(job),
            status: JobStatus::Running,
            needs: Condition::AfterOk,
        };
        let free = || context(vec![worker_match(true, vec![], 0)]);
        let context = ExplainContext { awaited: (2..9).map(one).collect(), ..free() };
        let [cause] = &explain(&job, context)[..] else { panic!("one cause") };
        assert_eq!(
            cause.to_string(),
            "it waits for job 2 (Running) to complete, job 3 (Running) to complete, job 4 (Running) to \
             complete, job 5 (Running) to complete, job 6 (Running) to complete and for 2 more"
        );
        job.spec.array = "1-9%2".parse().ok();
        job.element = Some(Element { array: JobId(1), index: 5 });
        job.state = JobState::Pending { not_before: None, hold: Some(Hold::Turn), after: None };
        assert_eq!(explain(&job, free()), [Cause::Turn { array: JobId(1), at_once: 2 }]);
    }

    #[test]
    fn a_time_to_wait_for_is_told_until_it_has_come() {
        let spec = JobSpec { not_before: Some(at(20)), ..JobSpec::new("true") };
        let job = Job::new(JobId(1), spec, at(0));
        let free = || context(vec![worker_match(true, vec![], 0)]);
        assert_eq!(explain(&job, free()), [Cause::NotBefore { at: at(20) }]);
        assert_eq!(explain(&job, ExplainContext { now: at(20), ..free() }), [Cause::Next]);
    }
}
