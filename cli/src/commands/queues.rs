//! `orchestra queues`.

use clap::Subcommand;
use orchestra_contracts::{Queue, QueueChange, QueueName};

use crate::{
    args::{Output, Server},
    clock,
    exit::Exit,
    failure::Failure,
    output::{Format, print, print_json, print_line, table::Table, when},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Queues {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List queues with their waiting and running jobs
    Ls(Ls),
    /// Hand out no jobs of a queue; running jobs continue
    Pause(Named),
    /// Hand out jobs of a queue again
    Resume(Named),
    /// Limit how many jobs of a queue run at once
    Limit(Limit),
}

#[derive(Debug, clap::Args)]
struct Ls {
    #[command(flatten)]
    server: Server,

    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Args)]
struct Named {
    /// The queue; it may have no jobs yet
    #[arg(value_name = "QUEUE")]
    name: QueueName,

    #[command(flatten)]
    server: Server,
}

#[derive(Debug, clap::Args)]
struct Limit {
    #[command(flatten)]
    of: Named,

    /// How many may run at once; none removes the limit
    #[arg(value_name = "N|none", value_parser = bound)]
    most: Bound,
}

/// `None` for no bound.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bound(Option<u32>);

fn bound(text: &str) -> Result<Bound, String> {
    match text.parse() {
        _ if text == "none" => Ok(Bound(None)),
        Ok(most) if most > 0 => Ok(Bound(Some(most))),
        _ => {
            Err("give a number from 1 on, or none; `orchestra queues pause` stops a queue"
                .to_owned())
        }
    }
}

pub(crate) async fn queues(args: Queues) -> Result<Exit, Failure> {
    let pause = |paused| QueueChange { paused: Some(paused), ..QueueChange::default() };
    match args.verb {
        Verb::Ls(args) => list(args).await,
        Verb::Pause(args) => change(args, pause(true)).await,
        Verb::Resume(args) => change(args, pause(false)).await,
        Verb::Limit(Limit { of, most: Bound(most) }) => {
            change(of, QueueChange { concurrency: Some(most), ..QueueChange::default() }).await
        }
    }
}

async fn list(args: Ls) -> Result<Exit, Failure> {
    let queues = args.server.client()?.queues().await?;
    match args.output.format {
        Format::Json => print_json(&queues)?,
        Format::Name => queues.iter().try_for_each(|queue| print_line(&queue.name))?,
        Format::Table => print(&table(&queues).text())?,
    }
    Ok(Exit::SUCCESS)
}

async fn change(args: Named, change: QueueChange) -> Result<Exit, Failure> {
    let queue = args.server.client()?.change_queue(&args.name, change).await?;
    print(&table(&[queue]).text())?;
    Ok(Exit::SUCCESS)
}

fn table(queues: &[Queue]) -> Table {
    let now = clock::now();
    let mut table = Table::new(["QUEUE", "STATE", "PENDING", "RUNNING", "LIMIT", "WORKERS"]);
    for queue in queues {
        let state = match queue.paused_since {
            Some(since) => format!("paused {} ago", when::age(now, since)),
            None => "open".to_owned(),
        };
        table.row([
            queue.name.to_string(),
            state,
            queue.pending.to_string(),
            queue.running.to_string(),
            queue.concurrency.map_or_else(|| "none".to_owned(), |most| most.to_string()),
            queue.workers.to_string(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_a_number_or_none() {
        assert_eq!(bound("3"), Ok(Bound(Some(3))));
        assert_eq!(bound("none"), Ok(Bound(None)));
        for wrong in ["0", "-1", "all", ""] {
            assert!(bound(wrong).is_err(), "{wrong}");
        }
    }
}
