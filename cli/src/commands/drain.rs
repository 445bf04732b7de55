//! `orchestra drain`.

use orchestra_contracts::WorkerName;

use crate::{
    args::Server,
    exit::Exit,
    failure::Failure,
    output::{print_line, say},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Drain {
    /// The workers' names, as shown by `orchestra workers`
    #[arg(required = true, value_name = "NAME")]
    workers: Vec<WorkerName>,

    /// Give them jobs again
    #[arg(long)]
    undo: bool,

    #[command(flatten)]
    server: Server,
}

pub(crate) async fn drain(args: Drain) -> Result<Exit, Failure> {
    let client = args.server.client()?;
    for name in args.workers {
        let worker = client.drain(&name, !args.undo).await?;
        print_line(&worker.name)?;
        if !args.undo && !worker.running.is_empty() {
            let count = worker.running.len();
            say(&format!("{name} finishes what it runs first: {count} of its jobs"));
        }
    }
    Ok(Exit::SUCCESS)
}
