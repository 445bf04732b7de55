//! Compares Orchestra with other systems on one machine in one run:
//! `cargo run --release -p bench -- all`.
//!
//! * `rows` holds one file for each row of docs/performance.md; each can be run alone.
//! * `stack` is our master and worker, `engine` the container engine without us, `peers` are other
//!   queues; `link` is a cheap client of the REST API.
//! * `statistics` is the arithmetic; `report` and `plots` write the results.
//!
//! Compared systems are measured in alternating blocks with the same flags, so other load on the
//! machine affects both. Nothing is installed: when something is missing, the report names it and
//! says how to get it, and the row runs without it.

#![expect(clippy::cast_precision_loss, reason = "figures for people: no count comes near 2^52")]

mod args;
mod clock;
mod cpu;
mod engine;
mod error;
mod link;
mod machine;
mod peers;
mod plots;
mod program;
mod report;
mod rows;
mod stack;
mod statistics;

use std::process::ExitCode;

use clap::Parser;

use crate::{args::Args, error::BenchError};

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::from(125)
        }
    }
}

/// Runs the rows. Returns whether every row could be measured. A missed goal is a result, not a
/// failure.
async fn run(args: Args) -> Result<bool, BenchError> {
    let bench = rows::Bench::new(&args).await?;
    let mut report = report::Report::new(machine::describe(&bench).await);
    let mut whole = true;
    for row in args.rows() {
        eprintln!("== {row}");
        match rows::run(row, &bench).await {
            Ok(measured) => {
                print!("{measured}");
                report.add(measured);
            }
            Err(error) => {
                eprintln!("bench: {row}: {error}");
                report.skip(row, &error);
                whole = false;
            }
        }
    }
    report.write(&args.out, &args.plots)?;
    Ok(whole)
}
