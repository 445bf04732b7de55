//! `orchestra ls`: a page of jobs; `watch` keeps it fresh.

mod watch;

use orchestra_client::{Client, ClientError, JobQuery, ListOrder};
use orchestra_contracts::{Job, JobId, JobStatus, Span, WorkerName};

use crate::{
    args::{Output, Server, pair},
    clock,
    exit::Exit,
    failure::Failure,
    output::{Format, print, print_json, print_line, say, table::Table, when},
};

/// What the master gives on one page at most.
const LARGEST_PAGE: u32 = 1000;

#[derive(Debug, clap::Args)]
pub(crate) struct Ls {
    /// Only jobs with this status; may be repeated
    #[arg(short, long)]
    status: Vec<JobStatus>,

    /// Only jobs of this queue
    #[arg(long)]
    queue: Option<String>,

    /// Only jobs with this label; may be repeated
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,

    /// Only jobs that this worker runs or has run
    #[arg(short, long)]
    worker: Option<WorkerName>,

    /// Only jobs with this text in their command or name
    #[arg(value_name = "TEXT")]
    text: Option<String>,

    /// Only jobs of this array, given by the id of its first job
    #[arg(long, value_name = "ID")]
    array: Option<JobId>,

    /// How many jobs to show
    #[arg(short = 'n', long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..),
          conflicts_with = "all")]
    limit: u32,

    /// Show all jobs
    #[arg(short, long)]
    all: bool,

    /// Continue where an earlier list ended, with the cursor that it printed
    #[arg(long)]
    cursor: Option<String>,

    /// Keep the list up to date until Ctrl-C: in place on a terminal; otherwise by printing the
    /// changes
    #[arg(long, conflicts_with_all = ["all", "cursor"])]
    watch: bool,

    /// How often --watch refreshes
    #[arg(long, value_name = "TIME", default_value = "2s", requires = "watch")]
    interval: Span,

    #[command(flatten)]
    server: Server,

    #[command(flatten)]
    output: Output,
}

pub(crate) async fn ls(args: Ls) -> Result<Exit, Failure> {
    let client = args.server.client()?;
    let wanted = if args.all { usize::MAX } else { args.limit as usize };
    let mut query = JobQuery {
        statuses: args.status,
        queue: args.queue,
        labels: args.label,
        worker: args.worker,
        text: args.text,
        array: args.array,
        order: ListOrder::Newest,
        limit: None,
        cursor: args.cursor,
    };
    if args.watch {
        let (format, pause) = (args.output.format, args.interval.0);
        return watch::watch(&client, &query, wanted, format, pause).await;
    }
    let jobs = page(&client, &mut query, wanted).await?;
    write(&jobs, args.output.format)?;
    if let Some(cursor) = query.cursor {
        say(&format!("there are more; go on with --cursor {cursor}, or take --all"));
    }
    Ok(Exit::SUCCESS)
}

/// As many as are wanted, as far as there are some; the query goes on behind them.
async fn page(
    client: &Client,
    query: &mut JobQuery,
    wanted: usize,
) -> Result<Vec<Job>, ClientError> {
    let mut jobs = Vec::new();
    while jobs.len() < wanted {
        query.limit = Some((wanted - jobs.len()).min(LARGEST_PAGE as usize) as u32);
        let page = client.jobs(query).await?;
        jobs.extend(page.jobs);
        query.cursor = page.next;
        if query.cursor.is_none() {
            break;
        }
    }
    Ok(jobs)
}

fn write(jobs: &[Job], format: Format) -> Result<(), Failure> {
    match format {
        Format::Json => print_json(&jobs)?,
        Format::Name => jobs.iter().try_for_each(|job| print_line(job.id))?,
        Format::Table => print(&table(jobs).text())?,
    }
    Ok(())
}

fn table(jobs: &[Job]) -> Table {
    let now = clock::now();
    let mut table = Table::new(["ID", "STATUS", "NAME", "COMMAND", "AGE", "TOOK", "WORKER", "WHY"]);
    for job in jobs {
        table.row([
            job.id.to_string(),
            job.status.to_string(),
            job.spec.name.clone().unwrap_or_default(),
            job.spec.command.trim().to_owned(),
            when::age(now, job.created_at),
            when::took(job, now),
            job.assigned_worker.as_ref().map(ToString::to_string).unwrap_or_default(),
            why(job),
        ]);
    }
    table
}

/// Success needs no reason, and neither does what goes on.
pub(crate) fn why(job: &Job) -> String {
    match job.status {
        JobStatus::Completed => String::new(),
        _ => job.reason.clone().unwrap_or_default(),
    }
}
