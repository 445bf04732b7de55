//! `orchestra schedule`.

use clap::Subcommand;
use orchestra_contracts::{NewSchedule, Overlap, Schedule, ScheduleChange, ScheduleName, Span};

use crate::{
    args::{JobOptions, Output, Server},
    clock,
    exit::Exit,
    failure::Failure,
    output::{Format, print, print_json, print_line, table::Table, when},
};

#[derive(Debug, clap::Args)]
pub(crate) struct ScheduleArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Create a schedule, which starts a job at calendar times
    ///
    /// For example: orchestra schedule create nightly --cron '0 3 * * *' --time-zone
    /// Europe/Berlin -- ./backup.sh
    Create(Box<Create>),
    /// List schedules with their next and last times
    Ls(Ls),
    /// Start no jobs of these schedules until they are resumed; jobs that have started continue
    Pause(Named),
    /// Start jobs of these schedules again
    ///
    /// The newest missed time is made up for, if it is not too old.
    Resume(Named),
    /// Remove schedules; their jobs stay
    Rm(Named),
}

#[derive(Debug, clap::Args)]
struct Create {
    /// The name of the schedule; its jobs have the label schedule=NAME
    #[arg(value_name = "NAME", id = "schedule")]
    schedule: ScheduleName,

    /// The command, a bash script; several words are joined with spaces
    #[arg(required = true, value_name = "COMMAND")]
    command: Vec<String>,

    /// When to start: minute, hour, day of the month, month, day of the week, as in '30 6 * *
    /// mon-fri'; or @hourly, @daily, @weekly, @monthly, @yearly
    #[arg(long, value_name = "TIMES")]
    cron: String,

    /// The time zone, for example Europe/Berlin [default: UTC]
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,

    /// What to do if the previous job has not ended: allow another one, skip this time, or replace
    /// the previous job [default: skip]
    #[arg(long, value_name = "allow|skip|replace")]
    overlap: Option<Overlap>,

    /// How late a missed time may still be made up for [default: 1h]
    #[arg(long, value_name = "TIME")]
    catch_up: Option<Span>,

    #[command(flatten)]
    server: Server,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    job: JobOptions,
}

#[derive(Debug, clap::Args)]
struct Ls {
    #[command(flatten)]
    server: Server,

    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Args)]
struct Named {
    #[arg(required = true, value_name = "NAME")]
    names: Vec<ScheduleName>,

    #[command(flatten)]
    server: Server,
}

pub(crate) async fn schedule(args: ScheduleArgs) -> Result<Exit, Failure> {
    match args.verb {
        Verb::Create(args) => create(*args).await,
        Verb::Ls(args) => list(args).await,
        Verb::Pause(args) => pause(args, true).await,
        Verb::Resume(args) => pause(args, false).await,
        Verb::Rm(args) => remove(args).await,
    }
}

async fn create(args: Create) -> Result<Exit, Failure> {
    let client = args.server.client()?;
    // The master says that a schedule has none.
    let (spec, _uploads) = args.job.spec(&args.command)?;
    let mut wanted = NewSchedule::new(args.schedule, args.cron, spec);
    wanted.time_zone = args.time_zone.unwrap_or(wanted.time_zone);
    wanted.overlap = args.overlap.unwrap_or(wanted.overlap);
    wanted.catch_up = args.catch_up.unwrap_or(wanted.catch_up);
    let made = client.create_schedule(&wanted).await?;
    match args.output.format {
        Format::Json => print_json(&made)?,
        Format::Name => print_line(&made.what.name)?,
        Format::Table => print(&table(&[made]).text())?,
    }
    Ok(Exit::SUCCESS)
}

async fn list(args: Ls) -> Result<Exit, Failure> {
    let schedules = args.server.client()?.schedules().await?;
    match args.output.format {
        Format::Json => print_json(&schedules)?,
        Format::Name => schedules.iter().try_for_each(|it| print_line(&it.what.name))?,
        Format::Table => print(&table(&schedules).text())?,
    }
    Ok(Exit::SUCCESS)
}

async fn pause(args: Named, paused: bool) -> Result<Exit, Failure> {
    let client = args.server.client()?;
    let mut changed = Vec::new();
    for name in &args.names {
        let change = ScheduleChange { paused: Some(paused) };
        changed.push(client.change_schedule(name, change).await?);
    }
    print(&table(&changed).text())?;
    Ok(Exit::SUCCESS)
}

async fn remove(args: Named) -> Result<Exit, Failure> {
    let client = args.server.client()?;
    for name in &args.names {
        client.remove_schedule(name).await?;
        print_line(name)?;
    }
    Ok(Exit::SUCCESS)
}

fn table(schedules: &[Schedule]) -> Table {
    let now = clock::now();
    let mut table = Table::new(["NAME", "CRON", "ZONE", "STATE", "NEXT", "LAST", "JOB", "SKIPPED"]);
    for schedule in schedules {
        let Schedule { what, next_times, last_time, last_job, skipped, .. } = schedule;
        let state = match schedule.paused_since {
            Some(since) => format!("paused {} ago", when::age(now, since)),
            None => "active".to_owned(),
        };
        let skips = match (&schedule.skipped_reason, skipped) {
            (Some(reason), 1..) => format!("{skipped}: {reason}"),
            _ => skipped.to_string(),
        };
        let or_never = |time: Option<String>| time.unwrap_or_else(|| "never".to_owned());
        table.row([
            what.name.to_string(),
            what.cron.clone(),
            what.time_zone.clone(),
            state,
            or_never(next_times.first().map(ToString::to_string)),
            or_never(last_time.map(|time| format!("{} ago", when::age(now, time)))),
            last_job.map(|job| job.to_string()).unwrap_or_default(),
            skips,
        ]);
    }
    table
}
