//! `orchestra submit`.

use std::path::PathBuf;

use orchestra_contracts::{Array, Job, JobSpec};

use crate::{
    args::{JobOptions, Output, Server},
    exit::Exit,
    failure::Failure,
    output::{Format, print_json, print_line, say},
    spec_file, trace,
    uploads::Uploads,
};

/// What `--schema` prints. A test holds it to the API's description.
const SCHEMA: &str = include_str!("../../../docs/job.schema.json");

#[derive(Debug, clap::Args)]
pub(crate) struct Submit {
    /// The command, a bash script; several words are joined with spaces. A single - reads jobs
    /// from standard input
    #[arg(required_unless_present_any = ["file", "schema"], value_name = "COMMAND")]
    command: Vec<String>,

    /// Read jobs from this file: one job or a list, as YAML or JSON, or one job per line (.ndjson);
    /// - for standard input. Either all jobs are accepted or none
    #[arg(short, long, conflicts_with_all = ["command", "JobOptions"])]
    file: Option<PathBuf>,

    /// Create one job per index, for example 1-100, or 1-100%5 to run five at once
    #[arg(long, value_name = "INDEXES", conflicts_with = "file", value_parser = array)]
    array: Option<Array>,

    /// Submit nothing; print whether the job would be accepted, and in which form
    #[arg(long)]
    dry_run: bool,

    /// Print the JSON schema of a job, for editors, and exit
    #[arg(long)]
    schema: bool,

    #[command(flatten)]
    server: Server,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    job: JobOptions,
}

pub(crate) async fn submit(args: Submit) -> Result<Exit, Failure> {
    if args.schema {
        print_line(SCHEMA.trim_end())?;
        return Ok(Exit::SUCCESS);
    }
    let tracing = trace::begin("orchestra submit", &args.server);
    let client = tracing.client(args.server.client()?);
    let (specs, uploads) = specs(&args.command, args.file, args.array, args.job)?;
    uploads.bring(&client).await?;
    if args.dry_run {
        let accepted = client.check(&specs).await?;
        match args.output.format {
            Format::Json => print_json(&accepted)?,
            Format::Table | Format::Name => print_line(would_be(accepted.len()))?,
        }
        return Ok(Exit::SUCCESS);
    }
    let jobs = match &specs[..] {
        [spec] if spec.array.is_none() => vec![client.submit(spec).await?],
        specs => client.submit_all(specs).await?,
    };
    jobs.iter().for_each(warn);
    match (args.output.format, &jobs[..]) {
        (Format::Json, [job]) if job.array_id.is_none() => print_json(job)?,
        (Format::Json, jobs) => print_json(&jobs)?,
        (Format::Table | Format::Name, jobs) => {
            jobs.iter().try_for_each(|job| print_line(job.id))?;
        }
    }
    Ok(Exit::SUCCESS)
}

/// On standard error, so that what reads the ids is not disturbed.
pub(crate) fn warn(job: &Job) {
    for warning in &job.warnings {
        say(&format!("job {}: beware: {}", job.id, warning.text));
        say(&warning.hint);
    }
}

fn would_be(jobs: usize) -> String {
    match jobs {
        1 => "it would be accepted".to_owned(),
        jobs => format!("all {jobs} jobs would be accepted"),
    }
}

fn specs(
    words: &[String],
    file: Option<PathBuf>,
    array: Option<Array>,
    job: JobOptions,
) -> Result<(Vec<JobSpec>, Uploads), Failure> {
    let file = match words {
        [dash] if dash == "-" => Some(PathBuf::from("-")),
        _ => file,
    };
    if let Some(file) = file {
        return Ok((spec_file::read(&file)?, Uploads::default()));
    }
    let (spec, uploads) = job.spec(words)?;
    Ok((vec![JobSpec { array, ..spec }], uploads))
}

fn array(text: &str) -> Result<Array, String> {
    text.parse().map_err(|error: orchestra_contracts::NotAnArray| error.to_string())
}
