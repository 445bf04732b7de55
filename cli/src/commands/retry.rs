//! `orchestra retry`.

use orchestra_contracts::JobStatus;

use crate::{
    args::{Jobs, Server},
    commands::each,
    exit::Exit,
    failure::Failure,
    output::print_line,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Retry {
    #[command(flatten)]
    jobs: Jobs,

    #[command(flatten)]
    server: Server,
}

pub(crate) async fn retry(args: Retry) -> Result<Exit, Failure> {
    let client = args.server.client()?;
    let jobs = args.jobs.chosen(&client, &[JobStatus::Failed, JobStatus::Cancelled]).await?;
    each(&client, &jobs, async |id| {
        client.retry(id).await?;
        Ok(print_line(id)?)
    })
    .await
}
