//! `orchestra wait`.

use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    args::{Jobs, Output, Server},
    exit::{Exit, reason},
    failure::Failure,
    jobref::JobRef,
    output::{Format, print_json, print_line, say},
};

/// An array may have thousands; each wait is a request.
const AT_ONCE: usize = 64;

#[derive(Debug, clap::Args)]
pub(crate) struct Wait {
    #[command(flatten)]
    jobs: Jobs,

    #[command(flatten)]
    server: Server,

    #[command(flatten)]
    output: Output,
}

pub(crate) async fn wait(args: Wait) -> Result<Exit, Failure> {
    let client = args.server.client()?;
    let jobs = args.jobs.chosen(&client, &[]).await?;
    let wait = async |job: JobRef| -> Result<_, Failure> {
        Ok(client.wait(job.resolve(&client).await?).await?)
    };
    let jobs: Vec<_> = stream::iter(jobs).map(wait).buffered(AT_ONCE).try_collect().await?;
    for job in &jobs {
        if let Some(reason) = reason(job) {
            say(&reason);
        }
    }
    match args.output.format {
        Format::Json => print_json(&jobs)?,
        Format::Name => jobs.iter().try_for_each(|job| print_line(job.id))?,
        Format::Table => {
            jobs.iter().try_for_each(|job| print_line(format!("{} {}", job.id, job.status)))?;
        }
    }
    let first_bad = jobs.iter().map(Exit::of).find(|exit| *exit != Exit::SUCCESS);
    Ok(first_bad.unwrap_or(Exit::SUCCESS))
}
