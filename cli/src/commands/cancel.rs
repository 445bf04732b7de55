//! `orchestra cancel`.

use orchestra_contracts::JobStatus;

use crate::{
    args::{Jobs, Server},
    commands::each,
    exit::Exit,
    failure::Failure,
    output::print_line,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Cancel {
    #[command(flatten)]
    jobs: Jobs,

    #[command(flatten)]
    server: Server,
}

pub(crate) async fn cancel(args: Cancel) -> Result<Exit, Failure> {
    let client = args.server.client()?;
    let jobs = args
        .jobs
        .chosen(&client, &[JobStatus::Pending, JobStatus::Assigned, JobStatus::Running])
        .await?;
    each(&client, &jobs, async |id| {
        client.cancel(id).await?;
        Ok(print_line(id)?)
    })
    .await
}
