//! Row 2: like row 1 without warm sandboxes: each is made when its job arrives.

use crate::{
    args::Row,
    engine::Network,
    error::BenchError,
    report::Measured,
    rows::{Bench, blocks},
    stack::Plan,
    statistics::Samples,
};

const SHARE: f64 = 0.7;

pub(super) async fn run(bench: &Bench) -> Result<Measured, BenchError> {
    let (rounds, jobs) = bench.pick((5, 20), (2, 4));
    let flags = bench.flags().await?;
    let stack = bench.stack(&Plan::worker(2, 0)).await?;
    let (mut cold, mut none, mut disabled) = <(Samples, Samples, Samples)>::default();
    blocks::ours(&stack, 2).await?;
    for _ in 0..rounds {
        cold.add_block(blocks::ours(&stack, jobs).await?);
        none.add_block(blocks::by_api(&bench.engine, &flags, Network::None, jobs).await?);
        disabled.add_block(blocks::by_api(&bench.engine, &flags, Network::Disabled, jobs).await?);
    }
    let mut row = Measured::new(Row::Cold, "the same, with nothing that waits");
    row.line("orchestra, submit to completed", "ms", &cold);
    row.line("a loop over the engine's API, network none", "ms", &none);
    row.line("the same with NetworkDisabled, as our workers do", "ms", &disabled);
    let ratio = cold.ratio_to(&none);
    row.goal("at most 0.7 of a loop over the API", ratio.to_string(), ratio.of <= SHARE);
    row.note(format!(
        "The loop: create, attach, start, read to the end, wait; its removal is not in the time. \
         Against the loop that skips the network, too: {}.",
        cold.ratio_to(&disabled)
    ));
    Ok(row)
}
