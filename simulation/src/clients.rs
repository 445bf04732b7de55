//! Simulated people: they submit, follow, cancel, delete and retry jobs, and record what they see.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use orchestra_client::{Client, ClientError, Deleted, FollowEvent};
use orchestra_contracts::{AttemptNo, JobId, JobSpec, Retry, Span, frame::Body};
use orchestra_tests::check::{JobPlan, Piece, REQUEST_LABEL, What, Wish};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{chance::Chance, record::Record, script::Script};

/// The log as one reader saw it, by attempt.
pub type Log = Vec<(AttemptNo, Vec<Piece>)>;

/// What people submit, and how fast they act.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    pub script: fn(&Chance) -> Script,
    /// Longest pause between two submissions, in milliseconds.
    pub pause: u64,
    /// Longest time until a person sends another request, in milliseconds.
    pub thought: u64,
}

impl Default for Habits {
    fn default() -> Self {
        Self { script: Script::any, pause: 6_000, thought: 4_000 }
    }
}

/// State shared by all people.
#[derive(Debug)]
pub struct People {
    habits: Habits,
    chance: Chance,
    record: Arc<Record>,
    requests: AtomicU64,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Every job whose submission was answered.
    jobs: Vec<JobId>,
    retried: Vec<JobId>,
    readings: Vec<(JobId, Log, bool)>,
}

/// The longest that one log is followed.
const FOLLOW: Duration = Duration::from_mins(4);

impl People {
    pub fn new(habits: Habits, chance: Chance, record: Arc<Record>) -> Arc<Self> {
        let (requests, known) = (AtomicU64::new(0), Mutex::default());
        Arc::new(Self { habits, chance, record, requests, known })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn jobs(&self) -> Vec<JobId> {
        self.known().jobs.clone()
    }

    /// One person's day: this many submissions, with other requests in between.
    pub async fn day(self: Arc<Self>, client: Client, submits: u64) {
        let mut followers = JoinSet::new();
        for _ in 0..submits {
            sleep(self.chance.millis(0, self.habits.pause)).await;
            let submitted = self.submit(&client).await;
            if let Some(job) = submitted.filter(|_| self.chance.permille(600)) {
                followers.spawn(self.clone().follow(client.clone(), job));
            }
            if self.chance.permille(350) {
                sleep(self.chance.millis(0, self.habits.thought)).await;
                self.wish(&client).await;
            }
        }
        while followers.join_next().await.is_some() {}
    }

    async fn submit(&self, client: &Client) -> Option<JobId> {
        let request = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let script = (self.habits.script)(&self.chance);
        let timeout = Span::from_secs(self.chance.number(2, 20));
        let max_retries = *self.chance.one_of(&[0, 0, 1, 3]);
        let lease = *self.chance.one_of(&[None, None, None, Some(Span::from_secs(12))]);
        let on_lost = !self.chance.permille(150);
        let spec = JobSpec {
            timeout: Some(timeout),
            max_retries,
            lease,
            retry: Retry { on_lost, ..Retry::default() },
            labels: [(REQUEST_LABEL.to_owned(), request.to_string())].into(),
            ..JobSpec::new(script.to_string())
        };
        let plan =
            JobPlan { command: spec.command.clone(), max_retries, ends: script.ends(timeout.0) };
        self.record.note(What::SubmitSent { request, plan });
        match client.submit(&spec).await {
            Ok(job) => {
                self.known().jobs.push(job.id);
                self.record.note(What::Submitted { request, job: job.id });
                Some(job.id)
            }
            Err(ClientError::Refused(problem)) if problem.status != 503 => {
                self.record.note(What::SubmitRefused { request, status: problem.status });
                None
            }
            Err(_) => {
                self.record.note(What::SubmitUnknown { request });
                None
            }
        }
    }

    async fn wish(&self, client: &Client) {
        let jobs = self.jobs();
        if jobs.is_empty() {
            return;
        }
        let job = *self.chance.one_of(&jobs);
        let wish = *self.chance.one_of(&[Wish::Cancel, Wish::Cancel, Wish::Delete, Wish::Retry]);
        if wish == Wish::Retry {
            self.known().retried.push(job);
        }
        self.record.note(What::Asked { job, wish });
        let answer = match wish {
            Wish::Cancel => client.cancel(job).await.map(|job| (200, job.attempt)),
            Wish::Retry => client.retry(job).await.map(|job| (200, job.attempt)),
            Wish::Delete => client.delete(job).await.map(|deleted| match deleted {
                Deleted::Now => (204, None),
                Deleted::WhenEnded => (202, None),
            }),
        };
        match answer {
            Ok((status, attempt)) => {
                self.record.note(What::Answered { job, wish, status, attempt });
            }
            Err(ClientError::Refused(problem)) => {
                let status = problem.status;
                self.record.note(What::Answered { job, wish, status, attempt: None });
            }
            Err(_) => {}
        }
    }

    async fn follow(self: Arc<Self>, client: Client, job: JobId) {
        let mut log = BTreeMap::new();
        let whole = timeout(FOLLOW, read(&client, job, &mut log, Some(&self.chance))).await;
        let whole = matches!(whole, Ok(Ok(())));
        self.record.line(format_args!("followed job {job}, whole: {whole}"));
        self.known().readings.push((job, log.into_iter().collect(), whole));
    }

    /// Records what readers saw. After a retry requested by a person, a job has logs that a reader may
    /// have missed because it left before.
    pub fn tell(&self) {
        let Known { retried, readings, .. } = std::mem::take(&mut *self.known());
        for (job, log, whole) in readings {
            let whole = whole && !retried.contains(&job);
            self.record.note(What::Followed { job, log, whole });
        }
    }
}

/// Reads a log until the job's end. With `breaks`, the reader disconnects now and then and resumes
/// from the last position it knows.
pub async fn read(
    client: &Client,
    job: JobId,
    log: &mut BTreeMap<AttemptNo, Vec<Piece>>,
    breaks: Option<&Chance>,
) -> Result<(), ClientError> {
    let mut from = None;
    loop {
        let mut events = Box::pin(client.follow(job, from));
        while let Some(event) = events.next().await {
            match event? {
                FollowEvent::Log { attempt, frame, after } => {
                    log.entry(attempt).or_default().push(match frame.body {
                        Body::Bytes(stream, bytes) => Piece::Bytes(stream, bytes),
                        Body::Gap(bytes) => Piece::Gap(bytes),
                    });
                    from = Some(after);
                }
                FollowEvent::State(_) => {}
                FollowEvent::End(_) => return Ok(()),
            }
            if breaks.is_some_and(|chance| chance.permille(20)) {
                break;
            }
        }
    }
}
