//! Sends what a worker would still send for an attempt that it has lost. The leases are read from
//! the answers to claims, as they pass through a proxy.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use orchestra_contracts::{
    AttemptNo, JobId, LeaseToken, Outcome, WorkerName, paths,
    worker::{Claimed, LEASE_HEADER},
};
use reqwest::{Client, header};
use serde_json::{Value, json};

use super::Recorder;
use crate::{check::What, proxy::Tap};

/// Longer answers cannot be answers to claims.
const LONGEST: usize = 256 * 1024;

/// A lease that was once held.
#[derive(Clone, Debug)]
struct Old {
    worker: WorkerName,
    job: JobId,
    attempt: AttemptNo,
    token: LeaseToken,
}

/// Remembers leases, and sends stale writes for those that are over.
#[derive(Clone, Debug, Default)]
pub struct Zombie {
    leases: Arc<Mutex<Vec<Old>>>,
    accounted: Arc<AtomicU64>,
}

impl Zombie {
    /// Returns a tap for one worker's connections.
    pub fn tap(&self, worker: &str) -> Tap {
        let worker: WorkerName = worker.parse().expect("a worker has a worker's name");
        let leases = self.leases.clone();
        let answers: Mutex<BTreeMap<u64, Vec<u8>>> = Mutex::default();
        Arc::new(move |connection, bytes| {
            let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
            let answer = answers.entry(connection).or_default();
            if bytes.starts_with(b"HTTP/1.1 ") {
                answer.clear();
            }
            if answer.len() < LONGEST {
                answer.extend_from_slice(bytes);
            }
            let Some(body) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return };
            let Ok(claimed) = serde_json::from_slice::<Vec<Claimed>>(&answer[body + 4..]) else {
                return;
            };
            remember(&leases, &worker, claimed);
            answer.clear();
        })
    }

    /// Remembers the leases that this worker was given.
    pub fn hear(&self, worker: &WorkerName, claimed: Vec<Claimed>) {
        remember(&self.leases, worker, claimed);
    }

    /// The number of leases seen, and the number of those superseded by a newer attempt.
    pub fn seen(&self) -> (usize, usize) {
        let (all, old) = (self.all(), self.superseded());
        (all.len(), old.len())
    }

    /// How many refusals are explained by the master's own counter of stale writes, or by the absence
    /// of the job. The counter is read around each call of [`Zombie::speak`], since it restarts with
    /// the master.
    pub fn accounted(&self) -> u64 {
        self.accounted.load(Ordering::Relaxed)
    }

    /// For every superseded attempt, reports an end and uploads log. Both must be refused. Each lease
    /// is forgotten afterwards.
    pub async fn speak(&self, base: &str, recorder: &Recorder) {
        let http = crate::http::client();
        let Some(before) = stale_writes(&http, base).await else { return };
        let mut absent = 0;
        for old in self.superseded() {
            let end = json!({
                "id": old.job, "status": "Completed", "assignedWorker": old.worker,
                "attempt": old.attempt, "leaseToken": old.token, "exitCode": 0,
                "outcome": Outcome::Exited { code: 0 },
            });
            let end = http.post(format!("{base}{}", paths::UPDATE)).json(&end);
            let path = paths::attempt_log(old.job, old.attempt);
            let log = http
                .post(format!("{base}{path}?offset=0&worker={}", old.worker))
                .header(LEASE_HEADER, old.token.as_str())
                .header(header::CONTENT_TYPE, "application/octet-stream")
                .body(Vec::new());
            for request in [end, log] {
                // A deleted job answers 404, which protects it just as well.
                let Ok(answer) = request.send().await else { return };
                let refused = matches!(answer.status().as_u16(), 404 | 409);
                absent += u64::from(answer.status() == 404);
                let (job, attempt) = (old.job, old.attempt);
                recorder.record(What::StaleWrite { job, attempt, refused });
            }
            let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
            leases.retain(|lease| (lease.job, lease.attempt) != (old.job, old.attempt));
        }
        let after = stale_writes(&http, base).await.unwrap_or(before);
        self.accounted.fetch_add(after - before + absent, Ordering::Relaxed);
    }

    fn superseded(&self) -> Vec<Old> {
        let all = self.all();
        let mut newest = BTreeMap::new();
        for lease in &all {
            let of_job = newest.entry(lease.job).or_insert(lease.attempt);
            *of_job = lease.attempt.max(*of_job);
        }
        all.iter().filter(|old| newest[&old.job] > old.attempt).cloned().collect()
    }

    fn all(&self) -> Vec<Old> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn remember(leases: &Mutex<Vec<Old>>, worker: &WorkerName, claimed: Vec<Claimed>) {
    let mut leases = leases.lock().unwrap_or_else(PoisonError::into_inner);
    leases.extend(claimed.into_iter().map(|Claimed { job, lease }| Old {
        worker: worker.clone(),
        job: job.id,
        attempt: lease.attempt,
        token: lease.token,
    }));
}

/// The master's counter of stale writes since its start: ends and log uploads under an old lease.
async fn stale_writes(http: &Client, base: &str) -> Option<u64> {
    let answer = http.get(format!("{base}/readyz")).send().await.ok()?;
    let ready: Value = answer.json().await.ok()?;
    let count = |what: &str| ready["stale"][what].as_u64();
    Some(count("updates")? + count("logs")?)
}
