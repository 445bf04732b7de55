//! `orchestra rm`.

use orchestra_client::Deleted;

use crate::{
    args::{Jobs, Server},
    commands::each,
    exit::Exit,
    failure::Failure,
    output::{print_line, say},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Rm {
    #[command(flatten)]
    jobs: Jobs,

    #[command(flatten)]
    server: Server,
}

pub(crate) async fn rm(args: Rm) -> Result<Exit, Failure> {
    let client = args.server.client()?;
    let jobs = args.jobs.chosen(&client, &[]).await?;
    each(&client, &jobs, async |id| {
        if client.delete(id).await? == Deleted::WhenEnded {
            say(&format!("job {id} is running; it is cancelled and goes when it has ended"));
        }
        Ok(print_line(id)?)
    })
    .await
}
