//! Row 5: output throughput from the container to a live reader, including storage. Compared with
//! `docker run … > file` with the same log driver.

use std::{process::Stdio, time::Instant};

use futures::{StreamExt, future::try_join_all};
use orchestra_client::LogQuery;
use orchestra_contracts::JobSpec;

use crate::{
    args::Row,
    cpu,
    engine::{Engine, Flags},
    error::BenchError,
    report::{Measured, short},
    rows::Bench,
    stack::{Plan, Stack},
    statistics::Samples,
};

const SHARE: f64 = 0.8;
const MANY: usize = 10;
/// Memory counts as flat when it grows by less than this, in MiB, whatever the log's size.
const FLAT: f64 = 48.0;

pub(super) async fn run(bench: &Bench) -> Result<Measured, BenchError> {
    let (rounds, mebibytes) = bench.pick((3, 256), (2, 48));
    let flags = bench.flags().await?;
    let mut plan = Plan::worker(MANY as u32, 1);
    plan.settings = vec![("ORCHESTRA_LOG_HEAD", "2g".to_owned())];
    let stack = bench.stack(&plan).await?;
    let (mut one, mut many, mut cli, mut cli_many) =
        <(Samples, Samples, Samples, Samples)>::default();
    let before = held(&stack);
    for _ in 0..rounds {
        one.add_block(vec![ours(&stack, 1, mebibytes).await?]);
        cli.add_block(vec![by_cli(bench, &flags, 1, mebibytes).await?]);
        many.add_block(vec![ours(&stack, MANY, mebibytes / MANY).await?]);
        cli_many.add_block(vec![by_cli(bench, &flags, MANY, mebibytes / MANY).await?]);
    }
    let grown = held(&stack) - before;
    let mut row = Measured::new(Row::LogBytes, "bytes of output, container to live reader");
    row.line("orchestra, one job", "MiB/s", &one);
    row.line("docker run … > file, one", "MiB/s", &cli);
    row.line("orchestra, ten jobs", "MiB/s", &many);
    row.line("docker run … > file, ten", "MiB/s", &cli_many);
    row.figure("master and worker together, memory grown by", "MiB", grown);
    for (what, ratio) in [("one job", one.ratio_to(&cli)), ("ten", many.ratio_to(&cli_many))] {
        row.goal(format!("{what}: at least 0.8"), ratio.to_string(), ratio.of >= SHARE);
    }
    row.goal("memory flat", format!("{} MiB more", short(grown)), grown < FLAT);
    row.note(format!(
        "From the start of the container to the last byte, {mebibytes} MiB altogether. Ours are \
         stored durably and read by a follower over HTTP; the other's go to a file that \
         nobody syncs, and into the engine's own log, as ours do."
    ));
    Ok(row)
}

fn held(stack: &Stack) -> f64 {
    let worker = stack.worker.as_ref().map_or(0.0, |worker| cpu::resident(worker.id()));
    worker + cpu::resident(stack.master.id())
}

fn command(mebibytes: usize) -> String {
    format!("yes 'a line of a log, as long as lines of logs are' | head -c {mebibytes}M")
}

/// Total throughput of this many jobs at once.
async fn ours(stack: &Stack, jobs: usize, mebibytes: usize) -> Result<f64, BenchError> {
    let start = Instant::now();
    try_join_all((0..jobs).map(|_| read(stack, mebibytes))).await?;
    Ok((jobs * mebibytes) as f64 / start.elapsed().as_secs_f64())
}

async fn read(stack: &Stack, mebibytes: usize) -> Result<(), BenchError> {
    let job = stack.client.submit(&JobSpec::new(command(mebibytes))).await?;
    let query = LogQuery { follow: true, ..LogQuery::default() };
    let mut log = std::pin::pin!(stack.client.log_text(job.id, &query).await?);
    let mut bytes = 0;
    while let Some(piece) = log.next().await {
        bytes += piece?.len();
    }
    expect(bytes, mebibytes)
}

async fn by_cli(
    bench: &Bench,
    flags: &Flags,
    jobs: usize,
    mebibytes: usize,
) -> Result<f64, BenchError> {
    let start = Instant::now();
    let all = (0..jobs).map(|index| write(&bench.engine, flags, bench, index, mebibytes));
    try_join_all(all).await?;
    Ok((jobs * mebibytes) as f64 / start.elapsed().as_secs_f64())
}

async fn write(
    engine: &Engine,
    flags: &Flags,
    bench: &Bench,
    index: usize,
    mebibytes: usize,
) -> Result<(), BenchError> {
    let path = bench.folder().join(format!("output-{index}"));
    let file = std::fs::File::create(&path).map_err(BenchError::io("an output file"))?;
    let mut cli = engine.cli(flags, &command(mebibytes));
    let status = cli.stdin(Stdio::null()).stdout(file).status().await;
    let status = status.map_err(BenchError::io("the docker command"))?;
    if !status.success() {
        return Err(BenchError::unexpected(format!("docker run ended with {status}")));
    }
    let found = std::fs::metadata(&path).map_err(BenchError::io("an output file"))?;
    expect(found.len() as usize, mebibytes)
}

fn expect(bytes: usize, mebibytes: usize) -> Result<(), BenchError> {
    if bytes == mebibytes << 20 {
        return Ok(());
    }
    Err(BenchError::unexpected(format!("{bytes} bytes came of {mebibytes} MiB")))
}
