//! Measures how long it takes until a job starts, and until its client knows that it has ended, with
//! and without warm sandboxes in turns. Also measures what warm sandboxes cost a CPU-bound job. It
//! asserts nothing: docs/performance.md has the figures.
//!
//! `cargo test --release -p orchestra-tests --test starts -- --ignored --nocapture --test-threads 1`

use std::time::{Duration, Instant};

use orchestra_contracts::{Job, JobStatus};
use orchestra_tests::{Plan, Stack, say};
use serde_json::json;
use tokio::time::sleep;

const ROUNDS: u32 = 5;
/// Jobs in sequence, with a pause after each in which a new sandbox can become ready.
const JOBS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(700);

/// Without and with warm sandboxes.
const WAYS: [(&str, &str); 2] = [("cold", "0"), ("warm", "2")];

async fn stacks() -> Option<[Stack; 2]> {
    let start = |(_, warm)| Plan::default().setting("ORCHESTRA_WARM", warm).start();
    let [cold, warm] = WAYS.map(start);
    let stacks = [cold.await?, warm.await?];
    for stack in &stacks {
        // This makes sure that the image exists.
        stack.api.run(&json!({"command": "true"})).await;
    }
    sleep(4 * PAUSE).await;
    Some(stacks)
}

async fn ended(stack: &Stack, command: &str) -> (Job, Duration) {
    let start = Instant::now();
    let job = stack.api.run(&json!({ "command": command })).await;
    let took = start.elapsed();
    assert_eq!(job.status, JobStatus::Completed, "{job:?}");
    (job, took)
}

/// Median, 90th and 99th percentile.
fn percentiles(mut all: Vec<u64>) -> String {
    all.sort_unstable();
    let at = |percent: usize| all[(all.len() - 1) * percent / 100];
    format!("p50 {:>5}  p90 {:>5}  p99 {:>5}", at(50), at(90), at(99))
}

#[tokio::test]
#[ignore = "it measures, and takes three minutes"]
async fn how_long_until_a_job_begins_and_ends() {
    let Some(stacks) = stacks().await else { return };
    let mut found = [const { (Vec::new(), Vec::new(), Vec::new()) }; 2];
    for _ in 0..ROUNDS {
        for (stack, (start, image, whole)) in stacks.iter().zip(&mut found) {
            for _ in 0..JOBS {
                let (job, took) = ended(stack, "true").await;
                let usage = job.usage.expect("a sandbox reports it");
                start.push(usage.start_ms.expect("it was started here"));
                image.push(usage.image_ms.expect("it was started here"));
                whole.push(took.as_millis() as u64);
                sleep(PAUSE).await;
            }
        }
    }
    for ((way, _), (start, image, whole)) in WAYS.into_iter().zip(found) {
        say(&format!("{way}: image known, ms          {}", percentiles(image)));
        say(&format!("{way}: start_ms                 {}", percentiles(start)));
        say(&format!("{way}: submit to completed, ms  {}", percentiles(whole)));
    }
    for stack in stacks {
        stack.stop().await;
    }
}

#[tokio::test]
#[ignore = "it measures, and takes three minutes"]
async fn what_those_that_wait_cost_a_job_that_computes() {
    const COUNT: &str = "for ((i = 0; i < 2000000; i++)); do :; done";
    let Some(stacks) = stacks().await else { return };
    let mut alone = Vec::new();
    let mut beside = [const { Vec::new() }; 2];
    for _ in 0..ROUNDS {
        for (stack, beside) in stacks.iter().zip(&mut beside) {
            let wall = |job: Job| job.usage.expect("a sandbox reports it").wall_ms;
            alone.push(wall(ended(stack, COUNT).await.0));
            let short = async {
                loop {
                    stack.api.run(&json!({"command": "true"})).await;
                    sleep(Duration::from_millis(400)).await;
                }
            };
            tokio::select! {
                (job, _) = ended(stack, COUNT) => beside.push(wall(job)),
                () = short => {}
            }
        }
    }
    say(&format!("alone, ms                            {}", percentiles(alone)));
    for ((way, _), beside) in WAYS.into_iter().zip(beside) {
        say(&format!("beside short jobs that start {way}, ms {}", percentiles(beside)));
    }
    for stack in stacks {
        // Sandboxes that are still being made finish first.
        sleep(2 * PAUSE).await;
        stack.stop().await;
    }
}
