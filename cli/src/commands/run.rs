//! `orchestra run`: submit, show, and end like the job ends.

use std::{
    io::{IsTerminal, stderr},
    path::PathBuf,
    pin::pin,
};

use futures::StreamExt;
use jiff::Timestamp;
use orchestra_client::{Client, ClientError, FollowEvent, JobQuery, ListOrder};
use orchestra_contracts::{AttemptNo, Job, JobId, JobSpec, JobStatus};
use orchestra_program::Signals;

use super::artifacts;
use crate::{
    args::{JobOptions, Server},
    clock,
    exit::{Exit, INTERRUPTED, reason},
    failure::Failure,
    folder::Folder,
    local::Local,
    output::{
        log::{LogPrinter, View},
        say,
    },
    place::Place,
    trace,
    uploads::Uploads,
    waiting::Waiting,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// The command, a bash script. Several words are joined with spaces; put -- before them if any
    /// begins with a dash
    #[arg(required = true, value_name = "COMMAND")]
    command: Vec<String>,

    /// Show only the command's own output
    #[arg(short, long)]
    quiet: bool,

    /// Write every byte unchanged, even to a terminal. The job can then control your terminal
    #[arg(long)]
    raw: bool,

    /// When the job has ended, write its artifacts to this folder, replacing existing files, for
    /// example: run --artifact Hello --fetch out 'g++ Hello.cpp -o Hello'
    #[arg(long, value_name = "DIR", requires = "artifact")]
    fetch: Option<PathBuf>,

    #[command(flatten)]
    server: Server,

    #[command(flatten)]
    job: JobOptions,
}

pub(crate) async fn run(args: Run) -> Result<Exit, Failure> {
    let (spec, uploads) = args.job.spec(&args.command)?;
    let task = Task { spec, uploads, fetch: args.fetch };
    let mut signals = Signals::listen();
    let mut printer = LogPrinter::new(View {
        quiet: args.quiet,
        watched: stderr().is_terminal(),
        raw: args.raw,
        ..View::default()
    });
    let start = clock::now();
    let place = tokio::select! {
        place = Place::find(&args.server) => place?,
        () = signals.next() => return Ok(Exit(INTERRUPTED)),
    };
    let tracing = trace::begin("orchestra run", &args.server);
    let client = tracing.client(place.client().clone());
    let exit = match place {
        Place::There(_) => watch(&client, &task, &mut printer, &mut signals).await.map(End::exit),
        Place::Here(mut local) => {
            let url = client.url();
            let about = format!("no master at {url}, so one runs here for the time of this job");
            printer.note(&about).await?;
            let end = tokio::select! {
                end = watch(&client, &task, &mut printer, &mut signals) => end,
                failure = local.failed() => Err(failure),
            };
            leave(local, end, start, &mut printer, &mut signals).await
        }
    };
    if let Ok(exit) = &exit {
        tracing.exits(exit.0);
    }
    exit
}

/// What to run, and where to put what it leaves.
struct Task {
    spec: JobSpec,
    uploads: Uploads,
    fetch: Option<PathBuf>,
}

impl Task {
    /// The job's own failure is the one that counts; what it left is there all the same.
    async fn fetch(&self, client: &Client, id: JobId, exit: Exit) -> Result<Exit, Failure> {
        let Some(folder) = &self.fetch else { return Ok(exit) };
        let fetched = match client.artifacts(id, None).await {
            Ok(listed) => {
                let folder = Folder::open(folder, true)?;
                artifacts::fetch_all(client, id, &listed, &folder).await
            }
            Err(error) => Err(error.into()),
        };
        match fetched {
            Err(failure) if exit != Exit::SUCCESS => {
                say(&failure.to_string());
                Ok(exit)
            }
            fetched => fetched.map(|_| exit),
        }
    }
}

/// How watching a job came to its end.
enum End {
    Job(Exit),
    /// The second Ctrl-C.
    GivenUp,
}

impl End {
    fn exit(self) -> Exit {
        match self {
            Self::Job(exit) => exit,
            Self::GivenUp => Exit(INTERRUPTED),
        }
    }
}

/// Submits the job and shows it until its end. The first signal cancels it.
async fn watch(
    client: &Client,
    task: &Task,
    printer: &mut LogPrinter,
    signals: &mut Signals,
) -> Result<End, Failure> {
    tokio::select! {
        brought = task.uploads.bring(client) => brought?,
        () = signals.next() => return Ok(End::GivenUp),
    }
    let job = client.submit(&task.spec).await?;
    super::submit::warn(&job);
    let (id, mut waiting) = (job.id, Waiting::of(job.status));
    printer.progress(&format!("job {id} waits for a worker"));
    let mut events = pin!(client.follow(id, None));
    let (mut is_cancelled, mut retries) = (false, Retries::default());
    loop {
        tokio::select! {
            event = events.next() => match event.transpose()? {
                Some(FollowEvent::Log { frame, attempt, .. }) => {
                    retries.tell_before(attempt, client, id, printer).await?;
                    printer.frame(&frame).await?;
                }
                Some(FollowEvent::State(job)) => {
                    waiting.note(job.status);
                    retries.tell(&job, client, printer).await?;
                    show_state(&job, printer);
                }
                Some(FollowEvent::End(job)) => {
                    retries.tell(&job, client, printer).await?;
                    let exit = show_end(&job, printer).await?;
                    return Ok(End::Job(task.fetch(client, id, exit).await?));
                }
                None => return Err(Failure::said(format!("the log of job {id} has no end"))),
            },
            () = waiting.is_long() => waiting.tell(client, id, printer).await?,
            () = signals.next() => {
                if is_cancelled {
                    return Ok(End::GivenUp);
                }
                is_cancelled = true;
                cancel(client, id, printer).await?;
            }
        }
    }
}

async fn cancel(client: &Client, id: JobId, printer: &mut LogPrinter) -> Result<(), Failure> {
    printer.note(&format!("cancelling job {id}; another Ctrl-C gives up waiting for it")).await?;
    match client.cancel(id).await {
        // It ended at the same moment; the log is about to say so.
        Ok(_) | Err(ClientError::Refused(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Says of each attempt but the last how it ended.
#[derive(Default)]
struct Retries {
    /// Of so many it was said.
    told: u32,
}

impl Retries {
    async fn tell(
        &mut self,
        job: &Job,
        client: &Client,
        printer: &mut LogPrinter,
    ) -> Result<(), Failure> {
        let Some(newest) = job.attempt else { return Ok(()) };
        self.tell_before(newest, client, job.id, printer).await?;
        match &job.reason {
            Some(reason) if job.status == JobStatus::Pending => {
                self.say(newest, reason, printer).await
            }
            _ => Ok(()),
        }
    }

    /// A wait for the next attempt may be over before anybody has seen it.
    async fn tell_before(
        &mut self,
        newest: AttemptNo,
        client: &Client,
        id: JobId,
        printer: &mut LogPrinter,
    ) -> Result<(), Failure> {
        if newest.0 <= self.told + 1 {
            return Ok(());
        }
        // Where they cannot be read, the log goes on without these sentences.
        for attempt in client.attempts(id).await.unwrap_or_default() {
            if attempt.number < newest {
                let reason = attempt.reason.unwrap_or_default();
                self.say(attempt.number, &reason, printer).await?;
            }
        }
        // Whatever the answer was, it is not asked again.
        self.told = self.told.max(newest.0 - 1);
        Ok(())
    }

    async fn say(
        &mut self,
        attempt: AttemptNo,
        reason: &str,
        printer: &mut LogPrinter,
    ) -> Result<(), Failure> {
        if attempt.0 <= self.told {
            return Ok(());
        }
        self.told = attempt.0;
        let reason = reason.lines().next().unwrap_or_default();
        printer.note(&format!("attempt {attempt}: {reason}; it is tried again")).await?;
        printer.forget();
        Ok(())
    }
}

fn show_state(job: &Job, printer: &mut LogPrinter) {
    match (job.status, &job.assigned_worker) {
        (JobStatus::Assigned, Some(worker)) => {
            printer.progress(&format!("job {} is prepared by worker {worker}", job.id));
        }
        (JobStatus::Running, _) => printer.progress(&format!("job {} is running", job.id)),
        _ => {}
    }
}

/// Says why the job ended where its own output does not, and gives the code.
async fn show_end(job: &Job, printer: &mut LogPrinter) -> Result<Exit, Failure> {
    printer.end().await?;
    let exit = Exit::of(job);
    let Some(reason) = reason(job) else { return Ok(exit) };
    if exit == Exit::FAILURE {
        if job.status != JobStatus::Cancelled {
            printer.confess().await?;
        }
        printer.line(&reason).await?;
    } else {
        printer.note(&reason).await?;
    }
    Ok(exit)
}

/// Ends the own master and worker, once the jobs are done that others gave them.
async fn leave(
    local: Local,
    end: Result<End, Failure>,
    start: Timestamp,
    printer: &mut LogPrinter,
    signals: &mut Signals,
) -> Result<Exit, Failure> {
    let end = match end {
        Ok(End::Job(exit)) => exit,
        Ok(End::GivenUp) => {
            local.kill(signals).await?;
            return Ok(Exit(INTERRUPTED));
        }
        // That both go down is known, and the first reason is the one to tell.
        Err(failure) => {
            let _ = local.stop(signals).await;
            return Err(failure);
        }
    };
    let others = unfinished(local.client(), start).await?;
    if !others.is_empty() {
        let about = format!(
            "jobs of others that came here are finished first ({}); Ctrl-C leaves them for the \
             next master",
            others.len()
        );
        printer.note(&about).await?;
        tokio::select! {
            () = finished(local.client(), others) => {}
            () = signals.next() => {}
        }
    }
    local.stop(signals).await?;
    Ok(end)
}

/// Jobs of others that came since, and have not ended.
async fn unfinished(client: &Client, since: Timestamp) -> Result<Vec<JobId>, Failure> {
    let query = JobQuery {
        statuses: vec![JobStatus::Pending, JobStatus::Assigned, JobStatus::Running],
        order: ListOrder::Newest,
        limit: Some(1000),
        ..JobQuery::default()
    };
    let jobs = client.jobs(&query).await?.jobs;
    let since = since.as_millisecond();
    let is_new = |job: &&Job| job.created_at.as_millisecond() >= since;
    Ok(jobs.iter().filter(is_new).map(|job| job.id).collect())
}

/// A job that cannot be waited for any more holds nobody up.
async fn finished(client: &Client, jobs: Vec<JobId>) {
    for id in jobs {
        let _ = client.wait(id).await;
    }
}
