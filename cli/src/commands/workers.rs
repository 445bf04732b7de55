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
        Format::Table => print(&table(&workers).text())?,
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
            if worker.online { "online" } else { "away" }.to_owned(),
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
