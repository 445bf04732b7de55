//! Row 6: latency from an echo in a job to its arrival at a follower of the log over HTTP. Job and
//! reader share a clock: each line holds the time at which it was written.

use futures::StreamExt;
use orchestra_client::LogQuery;
use orchestra_contracts::JobSpec;

use crate::{
    args::Row,
    clock,
    error::BenchError,
    plots::Plot,
    report::{Measured, short},
    rows::{Bench, blocks::millis},
    stack::{Plan, Stack},
    statistics::Samples,
};

const MEDIAN: f64 = 4.0;
const TAIL: f64 = 20.0;
/// Writes fifty megabytes a second in twenty chunks, for a minute, so it ends even when no reader
/// is left.
const NEIGHBOUR: &str =
    "for ((i = 0; i < 1200; i++)); do head -c 2500000 /dev/zero; sleep 0.05; done";

pub(super) async fn run(bench: &Bench) -> Result<Measured, BenchError> {
    let (rounds, lines) = bench.pick((5, 120), (2, 40));
    let mut plan = Plan::worker(3, 2);
    // The neighbour's log must not hit its limit.
    plan.settings = vec![("ORCHESTRA_LOG_HEAD", "4g".to_owned())];
    let stack = bench.stack(&plan).await?;
    let (mut alone, mut beside) = <(Samples, Samples)>::default();
    for _ in 0..rounds {
        alone.add_block(echoes(&stack, lines).await?);
        let neighbour = stack.client.submit(&JobSpec::new(NEIGHBOUR)).await?;
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        let block = echoes(&stack, lines).await;
        stack.client.cancel(neighbour.id).await?;
        stack.client.wait(neighbour.id).await?;
        beside.add_block(block?);
    }
    let mut row = Measured::new(Row::FirstByte, "from an echo to its byte at a reader");
    row.line("alone", "ms", &alone);
    row.line("beside a job that writes 50 MB/s", "ms", &beside);
    for (where_, samples) in [("alone", &alone), ("beside the neighbour", &beside)] {
        let (median, tail) = (samples.median(), samples.percentile(99.0));
        let measured = format!("{} and {} ms", short(median), short(tail));
        let goal = format!("{where_}: p50 at most 4 ms, p99 at most 20 ms");
        row.goal(goal, measured, median <= MEDIAN && tail <= TAIL);
    }
    row.note(
        "The neighbour shares two cores with everything else, itself included. Published by \
         others: up to 1 s (buildkite), up to 200 ms (nomad), as the pace at which they send.",
    );
    row.plots.push(Plot::distribution(
        "first-byte",
        "From an echo in a job to its byte at a reader",
        &[("alone", &alone), ("beside 50 MB/s", &beside)],
    ));
    Ok(row)
}

/// Writes this many lines, a twentieth of a second apart, and returns how old each was at the reader.
async fn echoes(stack: &Stack, lines: usize) -> Result<Vec<f64>, BenchError> {
    let command =
        format!("for ((i = 0; i < {lines}; i++)); do echo \"$EPOCHREALTIME\"; sleep 0.05; done");
    let job = stack.client.submit(&JobSpec::new(command)).await?;
    let query = LogQuery { follow: true, ..LogQuery::default() };
    let mut log = std::pin::pin!(stack.client.log_text(job.id, &query).await?);
    let (mut ages, mut rest) = (Vec::with_capacity(lines), Vec::new());
    while let Some(piece) = log.next().await {
        let now = clock::since_epoch();
        rest.extend_from_slice(&piece?);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let said = String::from_utf8_lossy(&line);
            let said: f64 = said
                .trim()
                .parse()
                .map_err(|_| BenchError::unexpected(format!("a line says {said:?}")))?;
            ages.push(millis(now) - said * 1e3);
        }
    }
    if ages.len() == lines {
        return Ok(ages);
    }
    Err(BenchError::unexpected(format!("{} of {lines} lines arrived", ages.len())))
}
