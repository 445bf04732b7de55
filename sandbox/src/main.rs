//! PID 1 of every job container. It waits for a job, runs it, forwards its output, enforces its
//! deadlines, and ends every other process of the container.
//!
//! ```text
//! waiting --Run, File*--> attending --the shell has ended, and all others--> farewell --> exit
//!    |                      ^ |                                               ^
//!    |                      +-+ output, commands, deadlines                   |
//!    +-- idle for too long: exit 0              could not start, bad frames --+
//! ```
//! There is one thread and one `poll` at a time, and no call blocks for long. Whatever the worker,
//! the engine or the job does, the end of the lease is noticed.
//!
//! This program must never install a signal handler. The kernel drops signals for a PID 1 without
//! handlers, so the job cannot stop or kill it, although both have the same uid.

mod artifacts;
#[expect(unsafe_code, reason = "what must be refused is asked of the kernel itself")]
mod attempt;
mod clock;
mod files;
mod filter;
mod folder;
mod job;
mod ladder;
mod line;
mod mask;
mod output;
mod pattern;
mod pipe;
mod primer;
mod receive;
mod shell;
mod snapshot;
#[expect(unsafe_code, reason = "the system calls that std does not offer, each behind a safe door")]
mod sys;
mod tree;
mod usage;
mod wall;
mod work;

use std::{env, fs, io, process::ExitCode, time::Duration};

use orchestra_sandbox::protocol::{self, Command, Event, Ready, Run};

use crate::{clock::Clock, job::Job, line::Line};

/// How long a sandbox that was made ahead of time waits for a job before it exits.
const IDLE: Duration = Duration::from_mins(2);
/// Overrides [`IDLE`], in milliseconds. It is no argument, because the job can read those, and must
/// not see whether its sandbox was made for it or ahead of time.
const IDLE_VARIABLE: &str = "ORCHESTRA_IDLE_MS";
/// Set if the sandbox was made ahead of its job. A variable for the same reason.
const AHEAD_VARIABLE: &str = "ORCHESTRA_AHEAD";

/// How long to wait for the last frames to be read. A reader that is present takes them at once.
const FAREWELL: Duration = Duration::from_secs(1);

/// The exit code for failures of this program itself, as everywhere in Orchestra.
const OWN_FAILURE: u8 = 125;

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    match arguments.next().as_deref() {
        Some("--attempt") => attempt::all(),
        Some("--connect") => attempt::connect(arguments),
        Some("--addresses") => return wall::addresses(),
        Some("--wall") => return wall::build(arguments),
        _ => return be_init(),
    }
    ExitCode::SUCCESS
}

fn be_init() -> ExitCode {
    let outcome = sys::become_init().and_then(|()| idle_limit()).and_then(serve);
    ExitCode::from(outcome.unwrap_or_else(|error| {
        eprintln!("orchestra-sandbox: {error}");
        OWN_FAILURE
    }))
}

fn idle_limit() -> io::Result<Duration> {
    if env::args_os().len() > 1 {
        return Err(usage("it takes no argument"));
    }
    let Some(number) = env::var_os(IDLE_VARIABLE) else { return Ok(IDLE) };
    let millis = number.to_str().and_then(|number| number.parse().ok());
    millis.map(Duration::from_millis).ok_or_else(|| usage("ORCHESTRA_IDLE_MS takes milliseconds"))
}

fn usage(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// Serves at most one job; returns the exit code of this program.
fn serve(idle: Duration) -> io::Result<u8> {
    let clock = Clock::start()?;
    let mut line = Line::open()?;
    let before = primer::prime(env::var_os(AHEAD_VARIABLE).is_some(), &clock);
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    line.send(&Event::Ready(Ready {
        version: protocol::VERSION,
        boot: boot.trim().to_owned(),
        since_boot: clock.since_boot(),
    }));
    line.flush()?;
    let run = match wait_for_job(&mut line, &clock, idle)? {
        Idle::Job(run) => run,
        Idle::Over => return Ok(0),
        Idle::Fault(reason) => return fail(&mut line, &clock, reason),
    };
    // A worker that looks for this job later must find it here, whatever happens next.
    line.send(&Event::Taken(run.attempt));
    line.flush()?;
    match Job::start(run, before, &mut line, &clock) {
        Ok(job) => job.attend(),
        Err(reason) => fail(&mut line, &clock, reason),
    }
}

/// How the wait for a job ended.
enum Idle {
    Job(Box<Run>),
    /// No job will come.
    Over,
    Fault(String),
}

fn wait_for_job(line: &mut Line, clock: &Clock, idle: Duration) -> io::Result<Idle> {
    let mut until = clock.now().saturating_add(idle);
    loop {
        match line.command() {
            Ok(Some(Command::Run(run))) => return Ok(Idle::Job(run)),
            Ok(Some(Command::File(_))) => {
                return Ok(Idle::Fault("the worker sent a file before the job".to_owned()));
            }
            Ok(Some(Command::Renew(lease))) => until = clock.end_of(lease),
            Ok(Some(Command::Terminate { .. } | Command::Kill)) => return Ok(Idle::Over),
            Ok(None) if line.is_closed() || clock.now() >= until => return Ok(Idle::Over),
            Ok(None) => line.talk(clock, until)?,
            Err(reason) => return Ok(Idle::Fault(reason)),
        }
    }
}

/// Reports that there is no job, or no longer one, and why; then this program ends.
fn fail(line: &mut Line, clock: &Clock, reason: String) -> io::Result<u8> {
    farewell(line, clock, [Event::Failed(reason)], Duration::ZERO)?;
    Ok(OWN_FAILURE)
}

/// Sends the last frames, until the lease ends or shortly after.
fn farewell(
    line: &mut Line,
    clock: &Clock,
    frames: impl IntoIterator<Item = Event>,
    lease: Duration,
) -> io::Result<()> {
    let mut frames = frames.into_iter().peekable();
    let mut until = lease.max(clock.now().saturating_add(FAREWELL));
    loop {
        while line.has_room()
            && let Some(frame) = frames.next()
        {
            line.send(&frame);
        }
        line.flush()?;
        if (line.is_flushed() && frames.peek().is_none()) || clock.now() >= until {
            return Ok(());
        }
        line.talk(clock, until)?;
        // A finished job accepts no other command, and a malformed one changes nothing.
        while let Ok(Some(command)) = line.command() {
            if let Command::Renew(lease) = command {
                until = clock.end_of(lease);
            }
        }
    }
}
