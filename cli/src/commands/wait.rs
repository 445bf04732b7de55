//! `orchestra wait`.

use futures::future::try_join_all;

use crate::{
    args::{Output, Server},
    exit::{Exit, reason},
    failure::Failure,
    jobref::JobRef,
    output::{Format, print_json, print_line, say},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Wait {
    /// The jobs: ids, @latest, or beginnings of names
    #[arg(required = true, value_name = "ID")]
    jobs: Vec<JobRef>,

    #[command(flatten)]
    server: Server,

    #[command(flatten)]
    output: Output,
}

pub(crate) async fn wait(args: Wait) -> Result<Exit, Failure> {
    let client = args.server.client()?;
    let wait = async |job: &JobRef| -> Result<_, Failure> {
        Ok(client.wait(job.resolve(&client).await?).await?)
    };
    let jobs = try_join_all(args.jobs.iter().map(wait)).await?;
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
