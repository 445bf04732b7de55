//! Callers and workers that use any of the masters, and switch to the next one after a failure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use orchestra_contracts::{AttemptNo, Job, JobId, JobStatus, paths, worker::Claimed};
use orchestra_tests::{Api, Masters, wait};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep};

use super::report;

/// What the callers and workers have observed.
#[derive(Default)]
pub(super) struct Seen {
    /// Submissions answered with 201, by idempotency key.
    pub(super) submitted: BTreeMap<String, JobId>,
    /// Attempts whose end was accepted.
    ended: BTreeMap<JobId, BTreeSet<AttemptNo>>,
    /// Requests without an answer, or with one that the database was unavailable.
    failures: usize,
}

pub(super) const JOBS: usize = 400;
pub(super) const CALLERS: usize = 4;
const WORKERS: usize = 8;

pub(super) fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A client of all masters that switches to the next one after a failure.
struct Door {
    apis: Vec<Api>,
    next: usize,
}

impl Door {
    /// The answer, if there is one and it reports no failure of ours.
    async fn ask(
        &mut self,
        path: &str,
        body: &Value,
        key: Option<&str>,
        seen: &Mutex<Seen>,
    ) -> Option<(StatusCode, Value)> {
        self.next += 1;
        let api = &self.apis[self.next % self.apis.len()];
        let mut request =
            api.request(Method::POST, path).json(body).timeout(Duration::from_secs(20));
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let answered = async {
            let answer = request.send().await.ok()?;
            let status = answer.status();
            let text = answer.text().await.ok()?;
            (!status.is_server_error())
                .then(|| (status, serde_json::from_str(&text).unwrap_or(Value::Null)))
        };
        let answer = answered.await;
        if answer.is_none() {
            lock(seen).failures += 1;
            sleep(Duration::from_millis(50)).await;
        }
        answer
    }
}

async fn calls(number: usize, pace: Duration, mut door: Door, seen: Arc<Mutex<Seen>>) {
    for job in 0..JOBS / CALLERS {
        let key = format!("caller-{number}-{job}");
        let body = json!({"command": "true", "name": key, "maxRetries": 0});
        let id = loop {
            let Some((status, answer)) = door.ask(paths::JOBS, &body, Some(&key), &seen).await
            else {
                continue;
            };
            assert!(status.is_success(), "{status}: {answer}");
            break serde_json::from_value(answer["id"].clone()).expect("a job has an id");
        };
        lock(&seen).submitted.insert(key, id);
        sleep(pace).await;
    }
}

async fn works(number: usize, mut door: Door, seen: Arc<Mutex<Seen>>, over: Arc<AtomicBool>) {
    let name = format!("curl-{number}");
    let mut round = 0;
    while !over.load(Ordering::Relaxed) {
        round += 1;
        // Repeats the same request until there is an answer.
        let request = format!("{name}-{round}");
        let terms = json!({"worker": name, "slots": 1, "wait": "1s", "requestId": request});
        let held: Vec<Claimed> = loop {
            match door.ask(paths::CLAIM, &terms, None, &seen).await {
                Some((StatusCode::OK, answer)) => {
                    break serde_json::from_value(answer).expect("leases");
                }
                Some((status, answer)) => {
                    assert!(status.is_success(), "{status}: {answer}");
                    break Vec::new();
                }
                None => {}
            }
        };
        for held in held {
            let done = report(
                &held,
                &name,
                JobStatus::Completed,
                json!({"output": "done\n", "exitCode": 0}),
            );
            loop {
                match door.ask(paths::UPDATE, &done, None, &seen).await {
                    Some((StatusCode::OK, _)) => {
                        let mut seen = lock(&seen);
                        seen.ended.entry(held.job.id).or_default().insert(held.lease.attempt);
                        break;
                    }
                    // The lease ran out while no master could be reached.
                    Some((StatusCode::CONFLICT, _)) => break,
                    Some((status, answer)) => panic!("{status}: {answer}"),
                    None => {}
                }
            }
        }
    }
}

/// Callers and workers that use any of the masters.
pub(super) struct Load {
    apis: Vec<Api>,
    pub(super) seen: Arc<Mutex<Seen>>,
    over: Arc<AtomicBool>,
    workers: JoinSet<()>,
    callers: JoinSet<()>,
}

impl Load {
    /// Starts the load. Each caller pauses this long after each of its submissions.
    pub(super) fn begin(masters: &Masters, pace: Duration) -> Self {
        let apis: Vec<Api> = masters.all.iter().map(|master| master.api.clone()).collect();
        let (seen, over) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicBool>::default());
        let door = |next| Door { apis: apis.clone(), next };
        let (mut workers, mut callers) = (JoinSet::new(), JoinSet::new());
        for number in 0..WORKERS {
            workers.spawn(works(number, door(number), seen.clone(), over.clone()));
        }
        for number in 0..CALLERS {
            callers.spawn(calls(number, pace, door(number), seen.clone()));
        }
        Self { apis, seen, over, workers, callers }
    }

    pub(super) fn is_submitted(&mut self) -> bool {
        while let Some(ended) = self.callers.try_join_next() {
            ended.expect("every call is answered in the end");
        }
        self.callers.is_empty()
    }

    /// Waits for all ends, asserts that nothing was lost or duplicated, and returns a summary.
    pub(super) async fn ends_well(mut self) -> String {
        let api = &self.apis[0];
        wait::until("all jobs to end", wait::JOB, async || {
            let open = api.jobs("?status=Pending&limit=1").await.len()
                + api.jobs("?status=Assigned&limit=1").await.len();
            (open == 0).then_some(())
        })
        .await;
        self.over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.workers.join_next().await {
            ended.expect("every report is answered in the end");
        }
        let jobs: Vec<Job> = api.jobs("?limit=1000").await;
        let seen = std::mem::take(&mut *lock(&self.seen));
        let stored: BTreeMap<String, JobId> =
            jobs.iter().map(|job| (job.spec.name.clone().unwrap_or_default(), job.id)).collect();
        assert_eq!(jobs.len(), JOBS);
        assert_eq!(stored, seen.submitted, "each key belongs to one job, the one in the answer");
        for job in &jobs {
            let end = (job.status, job.output.as_str());
            assert_eq!(end, (JobStatus::Completed, "done\n"), "{job:?}");
            let ends = seen.ended.get(&job.id).map_or(0, BTreeSet::len);
            assert!(ends <= 1, "two attempts of job {} had their end accepted", job.id);
        }
        let again = |job: &&Job| job.attempt.is_some_and(|attempt| attempt.0 > 1);
        let again = jobs.iter().filter(again).count();
        let failures = seen.failures;
        format!("{} jobs, {again} of them tried again, {failures} answers failed", jobs.len())
    }
}
