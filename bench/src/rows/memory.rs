//! Row 7: resident memory of our programs, idle and under load.

use std::time::Duration;

use orchestra_contracts::JobSpec;
use tokio::time::sleep;

use crate::{
    args::Row,
    cpu,
    error::BenchError,
    report::{Measured, short},
    rows::{Bench, blocks, seed, waiters::Waiting},
    stack::Plan,
};

/// Goals in MiB: idle master, busy master, worker.
const MOST: [f64; 3] = [20.0, 50.0, 15.0];
/// Number of jobs that run at once, and of warm sandboxes.
const SLOTS: u32 = 2;
const WAITING: usize = 1000;
const SETTLE: Duration = Duration::from_secs(3);

pub(super) async fn run(bench: &Bench) -> Result<Measured, BenchError> {
    let (stored, jobs) = bench.pick((1_000_000, 20), (100_000, 3));
    let (idle, worker) = with_worker(bench, jobs, true).await?;
    let (_, beside) = with_worker(bench, jobs, false).await?;

    let stack = bench.stack(&Plan::master()).await?;
    let like = seed::complete_one(&stack).await?;
    let stack = seed::copy(stack, like, stored).await?;
    let waiting = Waiting::start(&stack, WAITING).await?;
    sleep(SETTLE).await;
    let full = cpu::resident(stack.master.id());
    drop(waiting);

    let mut row = Measured::new(Row::Memory, "resident memory");
    let what = [
        "master, idle".to_owned(),
        format!("master, {stored} stored jobs and {WAITING} waiting claims"),
        "worker (orchestra-worker), after jobs and 20 MiB of output".to_owned(),
    ];
    for ((what, held), most) in what.into_iter().zip([idle, full, worker]).zip(MOST) {
        row.figure(what.clone(), "MiB", held);
        row.goal(format!("{what}: {most} MB"), format!("{} MiB", short(held)), held <= most);
    }
    row.figure("worker (orchestra worker), the same", "MiB", beside);
    row.note(
        "Published by others: go-judge about 20 MB; a containerd shim 9 to 11 MB a container.",
    );
    Ok(row)
}

/// Memory of a master before it does anything, and of its worker after jobs with output.
async fn with_worker(bench: &Bench, jobs: usize, alone: bool) -> Result<(f64, f64), BenchError> {
    let stack = bench.stack(&Plan { alone, ..Plan::worker(SLOTS, SLOTS) }).await?;
    sleep(SETTLE).await;
    let idle = cpu::resident(stack.master.id());
    blocks::ours(&stack, jobs).await?;
    stack.finish(&JobSpec::new("head -c 20M /dev/zero")).await?;
    let worker = stack.worker.as_ref().map_or(0.0, |worker| cpu::resident(worker.id()));
    Ok((idle, worker))
}
