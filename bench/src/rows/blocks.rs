//! Short jobs in sequence, in blocks.

use std::time::{Duration, Instant};

use orchestra_contracts::JobSpec;
use tokio::time::sleep;

use crate::{
    engine::{Engine, Flags, Network},
    error::BenchError,
    stack::Stack,
};

/// Pause between two jobs, in which the next sandbox is made and the last one removed.
pub(super) const PAUSE: Duration = Duration::from_millis(350);

pub(super) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Times from before the submission to the answer that the job has finished, in milliseconds.
pub(super) async fn ours(stack: &Stack, jobs: usize) -> Result<Vec<f64>, BenchError> {
    let spec = JobSpec::new("true");
    let mut block = Vec::with_capacity(jobs);
    for _ in 0..jobs {
        sleep(PAUSE).await;
        let start = Instant::now();
        stack.finish(&spec).await?;
        block.push(millis(start.elapsed()));
    }
    Ok(block)
}

/// The same for `docker run --rm`.
pub(super) async fn by_cli(
    engine: &Engine,
    flags: &Flags,
    jobs: usize,
) -> Result<Vec<f64>, BenchError> {
    let mut block = Vec::with_capacity(jobs);
    for _ in 0..jobs {
        sleep(PAUSE / 4).await;
        block.push(millis(engine.run_by_cli(flags, "true").await?));
    }
    Ok(block)
}

/// The same for a loop over the engine's API.
pub(super) async fn by_api(
    engine: &Engine,
    flags: &Flags,
    network: Network,
    jobs: usize,
) -> Result<Vec<f64>, BenchError> {
    let mut block = Vec::with_capacity(jobs);
    for _ in 0..jobs {
        sleep(PAUSE / 4).await;
        block.push(millis(engine.run(flags, network, "true").await?));
    }
    Ok(block)
}
