//! `orchestra logs`.
//!
//! It reads frames, not text: so the two output streams stay apart, `--tail` and
//! `--timestamps` mean the same with and without `-f`, and a break is bridged.

use std::io::{IsTerminal, stderr};

use futures::StreamExt;
use orchestra_client::FollowEvent;
use orchestra_contracts::{
    AttemptNo,
    event::Cursor,
    frame::{Frame, Stream},
};

use crate::{
    args::Server,
    exit::Exit,
    failure::Failure,
    jobref::JobRef,
    output::{
        log::{LogPrinter, View},
        say,
        tail::tail,
    },
    waiting::Waiting,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Logs {
    /// The job: its id, @latest, or the beginning of its name
    #[arg(value_name = "ID")]
    job: JobRef,

    /// Keep printing until the job has ended
    #[arg(short, long)]
    follow: bool,

    /// Only the last N lines, and everything after them
    #[arg(short = 'n', long, value_name = "N")]
    tail: Option<usize>,

    /// Begin each line with its time
    #[arg(short, long)]
    timestamps: bool,

    /// Only this stream, to standard output
    #[arg(long, value_name = "stdout|stderr|system", value_parser = stream)]
    stream: Option<Stream>,

    /// Only this attempt [default: the newest, and with -f also later ones]
    #[arg(long, value_name = "N", value_parser = attempt)]
    attempt: Option<AttemptNo>,

    /// Write every byte unchanged, even to a terminal. The job can then control your terminal
    #[arg(long)]
    raw: bool,

    #[command(flatten)]
    server: Server,
}

pub(crate) async fn logs(args: Logs) -> Result<Exit, Failure> {
    let client = args.server.client()?;
    let id = args.job.resolve(&client).await?;
    let job = client.job(id).await?;
    let Some(first) = args.attempt.or(job.attempt).or(args.follow.then_some(AttemptNo(1))) else {
        say(&format!("job {id} has not begun yet; -f waits for it"));
        return Ok(Exit::SUCCESS);
    };
    // What is there now; what comes later belongs to -f.
    let stored = match job.attempt {
        Some(newest) if first <= newest => client.log_head(id, first).await?.offset,
        Some(_) | None if args.follow => 0,
        _ => return Err(Failure::said(format!("job {id} has no attempt {first}"))),
    };
    let follow = args.follow && args.attempt.is_none_or(|only| job.attempt == Some(only));
    let mut reading = Reading {
        printer: LogPrinter::new(View {
            only: args.stream,
            timestamps: args.timestamps,
            quiet: false,
            watched: stderr().is_terminal(),
            raw: args.raw,
        }),
        now: Cursor { attempt: first.0, offset: stored },
        tail: args.tail,
        only: args.stream,
        held: Vec::new(),
    };
    if stored == 0 && !follow {
        return Ok(Exit::SUCCESS);
    }
    let mut events = client.follow(id, Some(Cursor::start_of(first))).boxed();
    let mut waiting = Waiting::of(job.status);
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = waiting.is_long(), if follow => {
                waiting.tell(&client, id, &mut reading.printer).await?;
                continue;
            }
        };
        let Some(event) = event.transpose()? else { break };
        let goes_on = match event {
            FollowEvent::Log { attempt, .. } if args.attempt.is_some_and(|only| attempt > only) => {
                false
            }
            FollowEvent::Log { frame, after, .. } => reading.take(frame, after, follow).await?,
            FollowEvent::State(job) => {
                waiting.note(job.status);
                true
            }
            FollowEvent::End(_) => false,
        };
        if !goes_on || reading.printer.is_unread() {
            break;
        }
    }
    reading.release().await?;
    reading.printer.end().await?;
    Ok(Exit::SUCCESS)
}

struct Reading {
    printer: LogPrinter,
    /// Where the log ended when we began.
    now: Cursor,
    tail: Option<usize>,
    only: Option<Stream>,
    /// With a tail: the frames of the past, until it is all here.
    held: Vec<Frame>,
}

impl Reading {
    /// Answers whether there is more to read.
    async fn take(&mut self, frame: Frame, after: Cursor, follow: bool) -> Result<bool, Failure> {
        let is_past = after <= self.now;
        if is_past && self.tail.is_some() {
            self.held.push(frame);
        } else if is_past || follow {
            self.release().await?;
            self.printer.frame(&frame).await?;
        }
        if after >= self.now {
            self.release().await?;
        }
        Ok(follow || after < self.now)
    }

    async fn release(&mut self) -> Result<(), Failure> {
        let held = std::mem::take(&mut self.held);
        for frame in tail(held, self.tail.unwrap_or(usize::MAX), self.only) {
            self.printer.frame(&frame).await?;
        }
        Ok(())
    }
}

fn stream(text: &str) -> Result<Stream, String> {
    let all = [Stream::Stdout, Stream::Stderr, Stream::System];
    let found = all.into_iter().find(|stream| stream.as_str() == text);
    found.ok_or_else(|| "a log has the streams stdout, stderr and system".to_owned())
}

pub(super) fn attempt(text: &str) -> Result<AttemptNo, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(AttemptNo(number)),
        _ => Err("attempts are numbered from 1".to_owned()),
    }
}
