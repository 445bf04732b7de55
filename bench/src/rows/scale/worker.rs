//! A scripted worker. It follows the protocol of docs/protocol.md exactly, but runs nothing. Like a
//! real worker it sends short output together with the end, and claims new jobs in the same request.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use orchestra_contracts::{
    AttemptNo, JobId, QueueName, WorkerName,
    frame::{Body, Frame, Stream},
    paths,
    worker::{LogRest, MAX_UPDATES},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep};

use super::tally::{QUEUES, Tally};
use crate::{error::BenchError, link::Link, rows::lifecycles::refusal};

/// Duration of each job.
pub(super) const WORK: Duration = Duration::from_millis(200);
/// A quarter of the default lease.
const HEARTBEAT: Duration = Duration::from_secs(15);
const OUTPUT: &[u8] = b"one line of what a command has to say\n";

/// The parts of a claimed job that matter here.
#[derive(Debug, Deserialize)]
struct Claimed {
    job: Job,
    lease: Lease,
}

/// The answer to a report; only the jobs that it claimed.
#[derive(Debug, Deserialize)]
struct Told {
    #[serde(default)]
    next: Vec<Claimed>,
}

#[derive(Debug, Deserialize)]
struct Job {
    id: JobId,
    name: String,
    queue: QueueName,
}

#[derive(Debug, Deserialize)]
struct Lease {
    attempt: AttemptNo,
    token: String,
}

#[derive(Debug, Deserialize)]
struct Orders {
    count: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Scripted {
    port: u16,
    number: usize,
    slots: usize,
    name: WorkerName,
    tally: Arc<Tally>,
}

impl Scripted {
    pub(super) async fn register(
        port: u16,
        number: usize,
        slots: usize,
        tally: Arc<Tally>,
    ) -> Result<Self, BenchError> {
        let name: WorkerName = format!("scripted-{number}")
            .parse()
            .map_err(|_| BenchError::unexpected("this is no worker's name"))?;
        let registration = json!({"slots": slots, "queues": queues(), "version": "scripted", "host": "bench", "engine": "none"}).to_string();
        let answer = Link::open(port).await?.put(&paths::worker(&name), &registration).await?;
        answer.expect(200)?;
        Ok(Self { port, number, slots, name, tally })
    }

    /// Starts its three loops.
    pub(super) fn spawn(self, tasks: &mut JoinSet<Result<(), BenchError>>) {
        tasks.spawn(self.clone().works());
        tasks.spawn(self.clone().beats());
        tasks.spawn(self.listens());
    }

    async fn works(self) -> Result<(), BenchError> {
        let mut link = Link::open(self.port).await?;
        let terms = json!({
            "worker": self.name, "slots": self.slots, "wait": "15s", "queues": queues(),
        });
        let (terms, mut held) = (terms.to_string(), Vec::new());
        loop {
            if held.is_empty() {
                let answer = link.post(paths::CLAIM, &terms).await?;
                if answer.status == 204 {
                    continue;
                }
                held = read(&answer.expect(200)?)?;
            }
            for Claimed { job, .. } in &held {
                let queue = job.queue.as_str().trim_start_matches('q').parse().unwrap_or(0);
                self.tally.claimed(self.number, queue, stamp(job));
            }
            let starts = held.iter().map(|held| self.report(held, &json!({"status": "Running"})));
            tell(&mut link, starts.collect()).await?;
            sleep(WORK).await;
            let mut ends: Vec<Value> = held.iter().map(|held| self.end(held)).collect();
            if let Some(last) = ends.last_mut() {
                last["claim"] = json!({"slots": self.slots, "queues": queues()});
            }
            let next = tell(&mut link, ends).await?;
            for held in &held {
                self.tally.ended(stamp(&held.job));
            }
            held = next;
        }
    }

    /// The report of the job's end, with its output.
    fn end(&self, held: &Claimed) -> Value {
        let mut frame = BytesMut::new();
        let body = Body::Bytes(Stream::Stdout, OUTPUT.into());
        Frame { time: 1, body }.encode(&mut frame);
        let end = json!({
            "status": "Completed", "exitCode": 0, "outcome": {"kind": "exited", "code": 0},
            "log": {"offset": frame.len(), "crc32": crc32fast::hash(OUTPUT)},
            "rest": LogRest(frame.freeze()),
        });
        self.report(held, &end)
    }

    fn report(&self, held: &Claimed, what: &Value) -> Value {
        let mut report = json!({
            "id": held.job.id, "assignedWorker": self.name, "attempt": held.lease.attempt,
            "leaseToken": held.lease.token,
        });
        if let (Some(report), Some(what)) = (report.as_object_mut(), what.as_object()) {
            report.extend(what.clone());
        }
        report
    }

    async fn beats(self) -> Result<(), BenchError> {
        let mut link = Link::open(self.port).await?;
        loop {
            sleep(HEARTBEAT).await;
            link.post(&paths::heartbeat(&self.name), r#"{"leases":[]}"#).await?.expect(200)?;
        }
    }

    async fn listens(self) -> Result<(), BenchError> {
        let mut link = Link::open(self.port).await?;
        let path = paths::orders(&self.name);
        let mut known = 0;
        loop {
            let answer = link.get(&format!("{path}?after={known}&wait=15s")).await?;
            known = read::<Orders>(&answer.expect(200)?)?.count;
        }
    }
}

/// Sends one report alone, or several as lists. No report may be refused. Returns what they claimed.
async fn tell(link: &mut Link, reports: Vec<Value>) -> Result<Vec<Claimed>, BenchError> {
    let mut brought = Vec::new();
    for part in reports.chunks(MAX_UPDATES) {
        let body = match part {
            [one] => one.to_string(),
            many => json!(many).to_string(),
        };
        let told = link.post(paths::UPDATE, &body).await?.expect(200)?;
        if let Some(refusal) = refusal(&told) {
            return Err(BenchError::unexpected(refusal));
        }
        let told = if part.len() == 1 { vec![read::<Told>(&told)?] } else { read(&told)? };
        brought.extend(told.into_iter().flat_map(|one| one.next));
    }
    Ok(brought)
}

fn queues() -> Vec<String> {
    (0..QUEUES).map(|queue| format!("q{queue}")).collect()
}

fn stamp(job: &Job) -> u64 {
    job.name.parse().unwrap_or_default()
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, BenchError> {
    serde_json::from_slice(body).map_err(|error| BenchError::unexpected(error.to_string()))
}
