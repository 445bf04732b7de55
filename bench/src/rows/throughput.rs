//! Row 3: as many short jobs as possible, each in its own container, and the CPU time of one.
//! Orchestra and `docker run --rm` each use the number of slots that suits them best.

use std::time::{Duration, Instant};

use futures::{StreamExt, future::ready, stream};
use orchestra_contracts::JobSpec;

use crate::{
    args::Row,
    cpu::Cpu,
    engine::{Engine, Flags},
    error::BenchError,
    plots::Plot,
    report::Measured,
    rows::Bench,
    stack::{Plan, Stack},
    statistics::Samples,
};

const TIMES: f64 = 1.7;
const SHARE: f64 = 0.6;
const SLOTS: [u32; 4] = [1, 2, 4, 8];
/// Jobs queued at the master for each slot.
const QUEUED: usize = 3;

/// The result of one block.
#[derive(Clone, Copy, Debug)]
struct Pace {
    per_second: f64,
    cpu_ms: f64,
}

pub(super) async fn run(bench: &Bench) -> Result<Measured, BenchError> {
    let (rounds, time) = bench.pick((5, 10), (2, 4));
    let (look, time) = (Duration::from_secs(time / 2), Duration::from_secs(time));
    let flags = bench.flags().await?;
    let (mut best, mut best_cli) = ((1, 0.0), (1, 0.0));
    for slots in SLOTS {
        let stack = bench.stack(&Plan::worker(slots, 0)).await?;
        let pace = ours(&stack, slots as usize, look).await?.per_second;
        best = if pace > best.1 { (slots, pace) } else { best };
        drop(stack);
        let pace = by_cli(&bench.engine, &flags, slots as usize, look).await?.per_second;
        best_cli = if pace > best_cli.1 { (slots, pace) } else { best_cli };
    }
    let (slots, parallel) = (best.0, best_cli.0 as usize);
    let stack = bench.stack(&Plan::worker(slots, 0)).await?;
    let (mut mine, mut mine_cpu, mut cli, mut cli_cpu) =
        <(Samples, Samples, Samples, Samples)>::default();
    for _ in 0..rounds {
        let pace = ours(&stack, slots as usize, time).await?;
        mine.add_block(vec![pace.per_second]);
        mine_cpu.add_block(vec![pace.cpu_ms]);
        let pace = by_cli(&bench.engine, &flags, parallel, time).await?;
        cli.add_block(vec![pace.per_second]);
        cli_cpu.add_block(vec![pace.cpu_ms]);
    }
    let mut row = Measured::new(Row::Throughput, "jobs a second, a container each");
    let ours = format!("orchestra, {slots} slots, no warm sandboxes");
    let theirs = format!("docker run --rm, {parallel} in parallel");
    row.line(&ours, "jobs/s", &mine);
    row.line(&theirs, "jobs/s", &cli);
    row.line("orchestra, all of the machine's processor time", "ms a job", &mine_cpu);
    row.line("docker run --rm, likewise", "ms a job", &cli_cpu);
    let (ratio, share) = (mine.ratio_to(&cli), mine_cpu.ratio_to(&cli_cpu));
    row.goal("at least 1.7 times docker run --rm", ratio.to_string(), ratio.of >= TIMES);
    row.goal("at most 0.6 of its processor time", share.to_string(), share.of <= SHARE);
    let both = [(ours, mine), (theirs, cli)];
    row.plots.push(Plot::bars(
        "throughput",
        "Jobs, each in a container of its own",
        "jobs/s",
        both,
    ));
    row.note(
        "Processor time is that of the whole machine while it ran, clients included: on a \
         machine that does something else as well, it says nothing.",
    );
    Ok(row)
}

/// As many jobs as finish within the time.
async fn ours(stack: &Stack, slots: usize, time: Duration) -> Result<Pace, BenchError> {
    let spec = &JobSpec::new("true");
    pace(slots * QUEUED, time, || async move { stack.finish(spec).await.map(drop) }).await
}

async fn by_cli(
    engine: &Engine,
    flags: &Flags,
    parallel: usize,
    time: Duration,
) -> Result<Pace, BenchError> {
    pace(parallel, time, || async move { engine.run_by_cli(flags, "true").await.map(drop) }).await
}

/// Keeps this many running at once, starting one whenever one has ended. Those still running at
/// the end are awaited and counted, and so is the time they took.
async fn pace<F: Future<Output = Result<(), BenchError>>>(
    at_once: usize,
    time: Duration,
    job: impl Fn() -> F,
) -> Result<Pace, BenchError> {
    let (start, before) = (Instant::now(), Cpu::now());
    let begin = stream::repeat_with(&job).take_while(|_| ready(start.elapsed() < time));
    let mut ends = begin.buffer_unordered(at_once);
    let mut jobs = 0_u32;
    while let Some(end) = ends.next().await {
        end?;
        jobs += 1;
    }
    let (took, used) = (start.elapsed(), Cpu::now().since(&before).machine);
    let jobs = f64::from(jobs);
    Ok(Pace { per_second: jobs / took.as_secs_f64(), cpu_ms: used.as_secs_f64() * 1e3 / jobs })
}
