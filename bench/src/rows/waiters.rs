//! Row 9: latency from a submission to the claim that it answers, with one, a hundred and a
//! thousand waiting workers; and the cost of these while idle.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::{sync::mpsc, task::JoinSet, time::sleep};

use crate::{
    args::Row,
    cpu,
    error::BenchError,
    link::Link,
    report::{Measured, short},
    rows::{Bench, blocks::millis},
    stack::{Plan, Stack},
    statistics::Samples,
};

const MEDIAN: f64 = 1.0;
const GROWTH: f64 = 1.5;
const IDLE: f64 = 2.0;
const SPEC: &str = r#"{"command":"true"}"#;
/// Leases that outlast the row.
const LEASES: [(&str, &str); 2] = [("ORCHESTRA_LEASE", "1h"), ("ORCHESTRA_MAX_LEASE", "1h")];
/// Number of earlier rounds. It makes request ids unique: the master would answer a repeated one as
/// it did before.
static CALLS: AtomicU64 = AtomicU64::new(0);
/// Pause after an answer, until the worker waits again.
const PAUSE: Duration = Duration::from_millis(4);

/// Workers that wait with an open claim; each claims again after every job.
pub(super) struct Waiting {
    tasks: JoinSet<Result<(), BenchError>>,
    claimed: mpsc::Receiver<Instant>,
}

impl Waiting {
    pub(super) async fn start(stack: &Stack, count: usize) -> Result<Self, BenchError> {
        let (sender, claimed) = mpsc::channel(count);
        let sender = Arc::new(sender);
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        let mut tasks = JoinSet::new();
        for index in 0..count {
            let (port, sender) = (stack.port, sender.clone());
            tasks.spawn(async move {
                let mut link = Link::open(port).await?;
                let worker = format!("waits-{index}");
                for request in 0.. {
                    // Like real workers, which use the id to recover a lost answer.
                    let request = format!("{call}-{worker}-{request}");
                    let terms = json!({
                        "worker": worker, "slots": 1, "wait": "20s", "requestId": request,
                    });
                    let answer = link.post("/api/job/claim", &terms.to_string()).await?;
                    let now = Instant::now();
                    if answer.status == 204 {
                        continue;
                    }
                    answer.expect(200)?;
                    if sender.send(now).await.is_err() {
                        break;
                    }
                }
                Ok(())
            });
        }
        // By then all have sent their claims, and the master holds them open.
        sleep(Duration::from_millis(500) + PAUSE * u32::try_from(count).unwrap_or(1000)).await;
        Ok(Self { tasks, claimed })
    }

    /// When the next claim was answered.
    async fn next(&mut self) -> Result<Instant, BenchError> {
        tokio::select! {
            Some(claimed) = self.claimed.recv() => Ok(claimed),
            Some(ended) = self.tasks.join_next() => match ended {
                Ok(Err(error)) => Err(error),
                _ => Err(BenchError::unexpected("a worker that waited has gone")),
            },
        }
    }
}

pub(super) async fn run(bench: &Bench) -> Result<Measured, BenchError> {
    let (rounds, jobs, idle) = bench.pick((5, 200, 20), (2, 60, 5));
    let mut row = Measured::new(Row::Waiters, "from a submit to the claim that it answers");
    let mut all = [const { Samples::new() }; 3];
    let counts = [1, 100, 1000];
    let mut plan = Plan::master();
    // Nobody completes these jobs, and their leases must not expire during the run.
    plan.settings = LEASES.map(|(name, value)| (name, value.to_owned())).into();
    let stack = bench.stack(&plan).await?;
    let mut link = Link::open(stack.port).await?;
    let mut cost = 0.0;
    for round in 0..rounds {
        for (count, samples) in counts.into_iter().zip(&mut all) {
            let mut waiting = Waiting::start(&stack, count).await?;
            samples.add_block(deliver(&mut link, &mut waiting, jobs).await?);
            if round + 1 == rounds && count == 1000 {
                let (start, before) = (Instant::now(), cpu::of(stack.master.id()));
                sleep(Duration::from_secs(idle)).await;
                let used = cpu::of(stack.master.id()).saturating_sub(before);
                cost = used.as_secs_f64() * 100.0 / start.elapsed().as_secs_f64();
            }
        }
    }
    for (count, samples) in counts.into_iter().zip(&all) {
        row.line(format!("{count} waiting"), "ms", samples);
    }
    row.figure("a thousand that wait, of one core", "%", cost);
    let worst = all.iter().map(Samples::median).fold(0.0, f64::max);
    row.goal("p50 at most 1 ms", format!("{} ms", short(worst)), worst <= MEDIAN);
    let growth = all[2].ratio_to(&all[0]);
    row.goal("a thousand against one: at most 1.5", growth.to_string(), growth.of <= GROWTH);
    row.goal("a thousand idle: under 2 % of a core", format!("{} %", short(cost)), cost < IDLE);
    row.note("Both commits are durable: the job is stored, and then that it is claimed.");
    Ok(row)
}

async fn deliver(
    link: &mut Link,
    waiting: &mut Waiting,
    jobs: usize,
) -> Result<Vec<f64>, BenchError> {
    let mut block = Vec::with_capacity(jobs);
    for _ in 0..jobs {
        let start = Instant::now();
        let (submitted, claimed) = tokio::join!(link.post("/api/job", SPEC), waiting.next());
        submitted?.expect(201)?;
        block.push(millis(claimed?.saturating_duration_since(start)));
        // The answered worker claims again.
        sleep(PAUSE).await;
    }
    Ok(block)
}
