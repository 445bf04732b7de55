//! `orchestra retry`.

use crate::{
    args::Server, commands::each, exit::Exit, failure::Failure, jobref::JobRef, output::print_line,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Retry {
    /// The jobs: ids, @latest, or beginnings of names
    #[arg(required = true, value_name = "ID")]
    jobs: Vec<JobRef>,

    #[command(flatten)]
    server: Server,
}

pub(crate) async fn retry(args: Retry) -> Result<Exit, Failure> {
    let client = args.server.client()?;
    each(&client, &args.jobs, async |id| {
        client.retry(id).await?;
        Ok(print_line(id)?)
    })
    .await
}
