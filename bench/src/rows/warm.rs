//! Row 1: a job that does nothing, in a warm sandbox on an idle machine. The time runs from before
//! the submission to the answer that it has finished.

use crate::{
    args::Row,
    engine::Network,
    error::BenchError,
    plots::Plot,
    report::{Measured, short},
    rows::{Bench, blocks},
    stack::Plan,
    statistics::Samples,
};

const SHARE: f64 = 1.0 / 20.0;
const MEDIAN: f64 = 8.0;
const TAIL: f64 = 25.0;

pub(super) async fn run(bench: &Bench) -> Result<Measured, BenchError> {
    let (rounds, jobs, others) = bench.pick((5, 60, 20), (2, 10, 4));
    let flags = bench.flags().await?;
    let stack = bench.stack(&Plan::worker(2, 2)).await?;
    let (mut warm, mut cli, mut api) = <(Samples, Samples, Samples)>::default();
    // The first runs are slower on every system.
    blocks::ours(&stack, 3).await?;
    blocks::by_cli(&bench.engine, &flags, 2).await?;
    for _ in 0..rounds {
        warm.add_block(blocks::ours(&stack, jobs).await?);
        cli.add_block(blocks::by_cli(&bench.engine, &flags, others).await?);
        api.add_block(blocks::by_api(&bench.engine, &flags, Network::None, others).await?);
    }
    let mut row = Measured::new(Row::Warm, "a job that does nothing, warm");
    row.line("orchestra, submit to completed", "ms", &warm);
    row.line("docker run --rm, the same flags", "ms", &cli);
    row.line("a loop over the engine's API, the same flags", "ms", &api);
    let (ratio, median, tail) = (warm.ratio_to(&cli), warm.median(), warm.percentile(99.0));
    row.goal("p50 at most 1/20 of docker run --rm", ratio.to_string(), ratio.of <= SHARE);
    row.goal("p50 at most 8 ms", format!("{} ms", short(median)), median <= MEDIAN);
    row.goal("p99 at most 25 ms", format!("{} ms", short(tail)), tail <= TAIL);
    row.note(format!("Against the loop over the API: {}.", warm.ratio_to(&api)));
    row.plots.push(Plot::distribution(
        "warm",
        "A job that does nothing: until its end is known",
        &[("orchestra, warm", &warm), ("docker run --rm", &cli), ("engine API", &api)],
    ));
    Ok(row)
}
