//! Row 4: the throughput of the master alone: jobs are submitted, claimed and completed over HTTP,
//! durably, without containers. Compared with other queues configured to be as durable. A worker
//! whose slots are full claims its next job together with the end of the last one; so do these clients.

use std::time::{Duration, Instant};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    args::Row,
    cpu,
    error::BenchError,
    link::Link,
    peers,
    plots::Plot,
    report::{Measured, short},
    rows::Bench,
    stack::{Plan, Stack},
    statistics::Samples,
};

const SINGLE: f64 = 15_000.0;
const BATCHED: f64 = 80_000.0;
const TIMES: f64 = 3.0;
pub(crate) const CLIENTS: usize = 64;
const BATCH: usize = 100;
const PROBLEM: &[u8] = b"urn:orchestra:problem:";

pub(super) async fn run(bench: &Bench) -> Result<Measured, BenchError> {
    let (rounds, time) = bench.pick((5, 5), (2, 2));
    let time = Duration::from_secs(time);
    let stack = bench.stack(&Plan::master()).await?;
    let (mut single, mut batched) = <(Samples, Samples)>::default();
    let (mut cost_single, mut cost_batched) = <(Samples, Samples)>::default();
    let mut others = peers::all();
    let mut row = Measured::new(Row::Lifecycles, "submit, claim, complete at the master alone");
    for _ in 0..rounds {
        for (batch, rate, cost) in
            [(1, &mut single, &mut cost_single), (BATCH, &mut batched, &mut cost_batched)]
        {
            let (a_second, each) = lifecycles(&stack, time, batch).await?;
            rate.add_block(vec![a_second]);
            cost.add_block(vec![each]);
        }
        for peer in &mut others {
            peer.block(bench, time).await?;
        }
    }
    let mut bars = vec![
        (format!("orchestra, {CLIENTS} clients, one a request"), single.clone()),
        (format!("orchestra, {BATCH} a request"), batched.clone()),
    ];
    let mut best = Samples::default();
    for peer in others {
        match peer.done() {
            Ok((name, durable, samples)) => {
                if durable && samples.median() > best.median() {
                    best = samples.clone();
                }
                bars.push((name.to_owned(), samples));
            }
            Err(missing) => row.note(missing.to_string()),
        }
    }
    for (what, samples) in &bars {
        row.line(what, "jobs/s", samples);
    }
    row.line("the master's processor time, one a request", "µs", &cost_single);
    row.line(format!("the same, {BATCH} a request"), "µs", &cost_batched);
    row.plots.push(Plot::bars("lifecycles", "Submitted, claimed, completed", "jobs/s", bars));
    let median = single.median();
    row.goal("one a request: at least 15 000/s", short(median), median >= SINGLE);
    let median = batched.median();
    row.goal("in batches of 100: at least 80 000/s", short(median), median >= BATCHED);
    if best.count() > 0 {
        let ratio = single.ratio_to(&best);
        let goal = "at least 3 times the best of the others that are durable";
        row.goal(goal, ratio.to_string(), ratio.of >= TIMES);
    }
    row.note(
        "SQLite, synchronous=FULL; the clients share the two cores. A job is two requests, and so are a \
         hundred in a batch: the submit, and the end of the last with the claim of the next.",
    );
    Ok(row)
}

/// Throughput of all clients together per second, and the master's CPU time per job in microseconds.
async fn lifecycles(stack: &Stack, time: Duration, batch: usize) -> Result<(f64, f64), BenchError> {
    let (start, before) = (Instant::now(), cpu::of(stack.master.id()));
    let mut clients = JoinSet::new();
    for index in 0..CLIENTS {
        clients.spawn(client(stack.port, format!("bench-{index}"), start + time, batch));
    }
    let mut jobs = 0;
    while let Some(client) = clients.join_next().await {
        jobs += client.map_err(|error| BenchError::unexpected(error.to_string()))??;
    }
    let taken = start.elapsed();
    let used = cpu::of(stack.master.id()).saturating_sub(before);
    Ok((jobs as f64 / taken.as_secs_f64(), used.as_secs_f64() * 1e6 / jobs as f64))
}

/// The answer to a report; only the jobs that it claimed.
#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    next: Vec<Value>,
}

/// Runs until then; returns how many jobs were completed.
async fn client(
    port: u16,
    worker: String,
    until: Instant,
    batch: usize,
) -> Result<usize, BenchError> {
    let mut link = Link::open(port).await?;
    let one = r#"{"command":"true"}"#;
    let specs =
        if batch == 1 { one.to_owned() } else { format!("[{}]", vec![one; batch].join(",")) };
    let claim = json!({"worker": worker, "slots": batch}).to_string();
    let (mut jobs, mut held) = (0, Vec::new());
    while Instant::now() < until {
        link.post("/api/job", &specs).await?.expect(201)?;
        if held.is_empty() {
            let answer = link.post("/api/job/claim", &claim).await?;
            // No job is left when others have claimed ours; in turn, theirs remain for us.
            held = if answer.status == 204 { Vec::new() } else { read(&answer.expect(200)?)? };
            continue;
        }
        jobs += held.len();
        held = complete(&mut link, &worker, &held, Some(batch)).await?;
    }
    if !held.is_empty() {
        jobs += held.len();
        complete(&mut link, &worker, &held, None).await?;
    }
    Ok(jobs)
}

/// Completes all jobs held, and returns the jobs that the last report claimed.
async fn complete(
    link: &mut Link,
    worker: &str,
    held: &[Value],
    slots: Option<usize>,
) -> Result<Vec<Value>, BenchError> {
    let update = |one: &Value| {
        json!({
            "id": one["job"]["id"], "status": "Completed", "assignedWorker": worker,
            "attempt": one["lease"]["attempt"], "leaseToken": one["lease"]["token"],
            "exitCode": 0, "log": {"offset": 0, "crc32": 0},
        })
    };
    let mut updates: Vec<Value> = held.iter().map(update).collect();
    if let (Some(last), Some(slots)) = (updates.last_mut(), slots) {
        last["claim"] = json!({"slots": slots});
    }
    let body = match &updates[..] {
        [one] => one.to_string(),
        many => json!(many).to_string(),
    };
    let told = link.post("/api/job/update", &body).await?.expect(200)?;
    if let Some(refusal) = refusal(&told) {
        return Err(BenchError::unexpected(refusal));
    }
    let told = if updates.len() == 1 { vec![read::<Told>(&told)?] } else { read(&told)? };
    Ok(told.into_iter().flat_map(|one| one.next).collect())
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, BenchError> {
    serde_json::from_slice(body).map_err(|error| BenchError::unexpected(error.to_string()))
}

/// The answer to a list of reports if any was refused; each report can be refused separately.
pub(crate) fn refusal(told: &[u8]) -> Option<String> {
    let refused = told.windows(PROBLEM.len()).any(|part| part == PROBLEM);
    refused.then(|| String::from_utf8_lossy(told).into_owned())
}
