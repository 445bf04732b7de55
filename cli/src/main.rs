//! The `orchestra` command: everything that people do with Orchestra, and the
//! programs of it, in one binary.
//!
//! * `args.rs` is the command line; `commands/` holds one file a verb.
//! * `place.rs` finds the master, `local.rs` brings up one, with a worker, in this process.
//! * `waiting.rs` says why a job does not begin.
//! * `folder.rs` is where files are fetched to.
//! * `output/` is the only place that writes to the terminal; what jobs are
//!   called and what they print is data there, never part of a format.
//! * `exit.rs` says which code to end with.
//!
//! Nothing here keeps state between two calls; the master is asked every time.

mod args;
mod clock;
mod commands;
mod exit;
mod failure;
mod folder;
mod jobref;
mod local;
mod output;
mod place;
mod spec_file;
mod trace;
mod uploads;
mod waiting;

use std::process::ExitCode;

use crate::args::Cli;

fn main() -> ExitCode {
    orchestra_program::run(program())
}

async fn program() -> ExitCode {
    let cli = Cli::read();
    orchestra_program::log_to_stderr(cli.log_filter(), cli.log_format);
    cli.warn_of_what_is_unread();
    orchestra_program::export_spans("orchestra", env!("CARGO_PKG_VERSION"));
    match commands::run(cli.command).await {
        Ok(code) => code.into(),
        Err(failure) => failure.report(),
    }
}
