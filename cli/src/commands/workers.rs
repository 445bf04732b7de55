//! `orchestra workers`.

use orchestra_contracts::worker::Worker;

use crate::{
    args::{Output, Server},
    clock,
    exit::Exit,
    failure::Failure,
    output::{Format, print, print_json, print_line, table::Table, when},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Workers {
    #[command(flatten)]
    server: Server,

    #[command(flatten)]
    output: Output,
}

pub(crate) async fn workers(args: Workers) -> Result<Exit, Failure> {
    let workers = args.server.client()?.workers().await?;
    match args.output.format {
        Format::Json => print_json(&workers)?,
        Format::Name => workers.iter().try_for_each(|worker| print_line(&worker.name))?,
        Format::Table => {
            print(&table(&workers).text())?;
            for worker in &workers {
                if let Some(reason) = &worker.unwell {
                    print_line(format!("{} starts no jobs: {reason}", worker.name))?;
                }
            }
        }
    }
    Ok(Exit::SUCCESS)
}

fn table(workers: &[Worker]) -> Table {
    let now = clock::now();
    let mut table =
        Table::new(["NAME", "STATE", "RUNNING", "SLOTS", "QUEUES", "SEEN", "ENGINE", "VERSION"]);
    for worker in workers {
        let about = &worker.registration;
        table.row([
            worker.name.to_string(),
            state(worker).to_owned(),
            worker.running.len().to_string(),
            about.slots.to_string(),
            about.queues.join(","),
            format!("{} ago", when::age(now, worker.seen_at)),
            about.engine.clone(),
            about.version.clone(),
        ]);
    }
    table
}

fn state(worker: &Worker) -> &'static str {
    match worker {
        Worker { online: false, .. } => "away",
        Worker { unwell: Some(_), .. } => "unwell",
        Worker { unwell: None, .. } => "online",
    }
}
