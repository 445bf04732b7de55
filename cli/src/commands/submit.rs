//! `orchestra submit`.

use std::path::PathBuf;

use orchestra_contracts::JobSpec;

use crate::{
    args::{JobOptions, Output, Server, read},
    exit::Exit,
    failure::Failure,
    output::{Format, print_json, print_line},
};

/// A job with a full standard input, every character of it escaped, and room to spare.
const SPEC_BYTES: usize = 8 << 20;

#[derive(Debug, clap::Args)]
pub(crate) struct Submit {
    /// The command, a bash script; several words are joined with spaces. A single - reads the
    /// whole job as JSON from standard input
    #[arg(required_unless_present = "file", value_name = "COMMAND")]
    command: Vec<String>,

    /// Read the job as JSON from this file; - for standard input
    #[arg(short, long, conflicts_with_all = ["command", "JobOptions"])]
    file: Option<PathBuf>,

    #[command(flatten)]
    server: Server,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    job: JobOptions,
}

pub(crate) async fn submit(args: Submit) -> Result<Exit, Failure> {
    let client = args.server.client()?;
    let spec = spec(&args.command, args.file, args.job)?;
    let job = client.submit(&spec).await?;
    match args.output.format {
        Format::Json => print_json(&job)?,
        Format::Table | Format::Name => print_line(job.id)?,
    }
    Ok(Exit::SUCCESS)
}

fn spec(words: &[String], file: Option<PathBuf>, job: JobOptions) -> Result<JobSpec, Failure> {
    let file = match words {
        [dash] if dash == "-" => Some(PathBuf::from("-")),
        _ => file,
    };
    let Some(file) = file else { return job.spec(words) };
    let text = read(&file, SPEC_BYTES)?;
    serde_json::from_str(&text).map_err(|error| {
        Failure::said(format!("the job in {} cannot be read: {error}", file.display()))
    })
}
