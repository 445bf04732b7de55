//! `orchestra rm`.

use orchestra_client::Deleted;

use crate::{
    args::Server,
    commands::each,
    exit::Exit,
    failure::Failure,
    jobref::JobRef,
    output::{print_line, say},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Rm {
    /// The jobs: ids, @latest, or beginnings of names
    #[arg(required = true, value_name = "ID")]
    jobs: Vec<JobRef>,

    #[command(flatten)]
    server: Server,
}

pub(crate) async fn rm(args: Rm) -> Result<Exit, Failure> {
    let client = args.server.client()?;
    each(&client, &args.jobs, async |id| {
        if client.delete(id).await? == Deleted::WhenEnded {
            say(&format!("job {id} is running; it is cancelled and goes when it has ended"));
        }
        Ok(print_line(id)?)
    })
    .await
}
