//! The command line, as clap reads it. What a verb does is in `commands/`.

mod engine;
mod job;
mod job_file;
mod jobs;
mod secret;
mod server;
mod unread;

pub(crate) use engine::Engine;
pub(crate) use job::{JobOptions, pair, read};
pub(crate) use jobs::Jobs;
pub(crate) use server::{Server, url_of};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use orchestra_program::LogFormat;

use crate::commands::{
    admin, artifacts, cancel, changes, completion, doctor, drain, explain, get, images, logs, ls,
    man, master, queues, repro, retry, rm, run, schedule, submit, token, top, up, wait, webhooks,
    worker, workers,
};
use crate::output::Format;

/// Runs bash commands, each in its own ephemeral, sandboxed container, and streams their output.
#[derive(Debug, Parser)]
#[command(
    name = "orchestra",
    version,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = AFTER_HELP
)]
pub(crate) struct Cli {
    /// What Orchestra logs about itself: off, error, warn, info, debug, or a filter made of these
    /// [default: info for `master` and `worker`, otherwise warn]
    #[arg(
        long,
        env = "ORCHESTRA_LOG",
        global = true,
        value_name = "FILTER",
        hide_short_help = true
    )]
    log: Option<String>,

    /// Format of that log: text for people, json for log collectors
    #[arg(
        long,
        env = "ORCHESTRA_LOG_FORMAT",
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value_t,
        hide_short_help = true
    )]
    pub(crate) log_format: LogFormat,

    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// The command line of this process; help, and what is wrong, end it here.
    pub(crate) fn read() -> Self {
        let matches = Self::definition().get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    fn definition() -> clap::Command {
        // Its worker has its master beside it, wherever ORCHESTRA_URL points.
        Self::command().mut_subcommand("up", |up| {
            up.mut_arg("url", |url| url.hide(true)).mut_arg("token_file", |file| file.hide(true))
        })
    }

    /// Has a program that runs in the background say which variables were meant for it, as it
    /// seems, and are not in force.
    pub(crate) fn warn_of_what_is_unread(&self) {
        if matches!(self.command, Command::Up(_) | Command::Master(_) | Command::Worker(_)) {
            unread::warn(&Self::definition());
        }
    }

    /// What to log. A program that runs in the background tells what it does; a
    /// verb at a terminal has its own way of saying things.
    pub(crate) fn log_filter(&self) -> &str {
        let default = match self.command {
            Command::Master(_) | Command::Worker(_) => "info",
            _ => "warn",
        };
        self.log.as_deref().unwrap_or(default)
    }
}

const AFTER_HELP: &str = "\
Where an ID is expected, @latest and the beginning of a job's name work, too.

Examples:
  orchestra run 'g++ Hello.cpp -o Hello && ./Hello'
  orchestra submit --retries 3 --timeout 10m 'make test'
  orchestra logs -f @latest

Exit codes: the job's own; 124 for a timeout, 137 out of memory, 128+N for signal N;
125 when Orchestra itself failed (with one sentence that says why), 2 for wrong usage.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a command in a container, show its output, exit with its exit code
    ///
    /// Ctrl-C cancels the job; a second Ctrl-C gives up at once. If you name no master and none
    /// listens on this machine, the command starts a master and a worker for this run.
    Run(run::Run),
    /// Submit a job and print its id
    Submit(submit::Submit),
    /// List jobs, newest first
    Ls(ls::Ls),
    /// Show one job
    Get(get::Get),
    /// Print the `docker run` line that repeats a job's newest attempt by hand
    Repro(repro::Repro),
    /// Explain why a job waits, which worker holds it, or how it ended
    Explain(explain::Explain),
    /// Print a job's output
    Logs(logs::Logs),
    /// List or fetch the files that a job left
    ///
    /// A job leaves the files that its artifact patterns select. For example, after `orchestra run
    /// --artifact 'build/*.tar.gz' make`: orchestra artifacts @latest --all --to out
    Artifacts(artifacts::Artifacts),
    /// Show which files in its folder a job created, modified and deleted
    ///
    /// For example: orchestra changes @latest. In a shared folder, another job may have made the
    /// changes.
    Changes(changes::ChangesArgs),
    /// Wait for jobs to end, exit with their exit code
    ///
    /// With several jobs, exit with the first code that is not 0.
    Wait(wait::Wait),
    /// Cancel jobs, whether they are running or waiting
    Cancel(cancel::Cancel),
    /// Put ended jobs back into the queue
    Retry(retry::Retry),
    /// Delete jobs and their logs; running ones are cancelled first
    Rm(rm::Rm),
    /// Watch jobs and workers in a full-screen view, read logs, cancel and retry
    Top(top::Top),
    /// List workers
    Workers(workers::Workers),
    /// List, pause and resume queues, limit how many of their jobs run at once
    Queues(queues::Queues),
    /// Create, list, pause and remove schedules, which start jobs at calendar times
    Schedule(schedule::ScheduleArgs),
    /// Let workers finish their jobs and give them no new ones
    ///
    /// This stays in effect across restarts of worker and master, until `--undo`.
    Drain(drain::Drain),
    /// Run a master and a worker together until Ctrl-C
    ///
    /// The first Ctrl-C lets jobs continue for the grace period; the second ends them at once.
    Up(Box<up::Up>),
    /// Run a master: the database and the REST API
    Master(master::Master),
    /// Run a worker: it claims jobs from a master and runs them
    Worker(Box<worker::Worker>),
    /// List, build or remove the images that jobs run in
    ///
    /// Each image is a folder with a Dockerfile under images/.
    Images(images::Images),
    /// Report the ends of jobs to a URL, and show what was sent there
    Webhooks(webhooks::Webhooks),
    /// Create, list and revoke tokens
    ///
    /// A master requires them if other machines can reach it.
    Token(token::Token),
    /// Back up the database, restore it, move it to PostgreSQL
    Admin(admin::Admin),
    /// Look for problems on this machine, and say how to fix them
    ///
    /// This changes nothing, and exits with 125 if there is a problem.
    Doctor(doctor::Doctor),
    /// Print the manual page of a command, or write those of all commands
    Man(man::ManArgs),
    /// Print a completion script for a shell
    Completion(completion::Completion),
}

/// How the result is written.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Output {
    /// Output format
    #[arg(short = 'o', long = "output", value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) format: Format,
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::definition().debug_assert();
    }

    #[rstest]
    #[case(&["run", "echo hi"], true)]
    #[case(&["run", "echo", "hi"], true)]
    #[case(&["run", "--", "ls", "-la"], true)]
    #[case(&["run", "echo hi", "--timeout", "10m", "-e", "A=b=c", "-l", "team=core"], true)]
    #[case(&["run", "-q", "--memory", "1g", "--cpus", "0.5", "--pids", "9", "true"], true)]
    #[case(&["run", "--network", "bridge", "--priority", "-5", "true"], true)]
    #[case(&["run"], false)]
    #[case(&["run", "ls", "-la"], false)]
    #[case(&["run", "--env", "A", "true"], false)]
    #[case(&["run", "--env", "=x", "true"], false)]
    #[case(&["run", "--timeout", "soon", "true"], false)]
    #[case(&["run", "--memory", "much", "true"], false)]
    #[case(&["run", "--network", "host", "true"], false)]
    #[case(&["run", "--delay", "10m", "true"], true)]
    #[case(&["run", "--not-before", "tomorrow", "true"], false)]
    #[case(&["run", "--not-before", "2026-01-31T18:00:00Z", "--delay", "1s", "true"], false)]
    #[case(&["submit", "true"], true)]
    #[case(&["submit", "-"], true)]
    #[case(&["submit", "--file", "job.json"], true)]
    #[case(&["submit", "--file", "job.json", "true"], false)]
    #[case(&["submit", "--file", "job.json", "--retries", "1"], false)]
    #[case(&["submit"], false)]
    #[case(&["ls", "--status", "failed", "--status", "3", "-o", "json"], true)]
    #[case(&["ls", "--status", "done"], false)]
    #[case(&["ls", "--worker", "a b"], false)]
    #[case(&["ls", "-o", "xml"], false)]
    #[case(&["get", "@latest"], true)]
    #[case(&["get"], false)]
    #[case(&["repro", "7"], true)]
    #[case(&["repro"], false)]
    #[case(&["logs", "-f", "--tail", "10", "--timestamps", "--stream", "stderr", "1"], true)]
    #[case(&["logs", "--attempt", "0", "1"], false)]
    #[case(&["artifacts", "1"], true)]
    #[case(&["artifacts", "1", "a/b", "--to", "x", "--force", "--attempt", "2"], true)]
    #[case(&["artifacts", "1", "--all", "--to", "out"], true)]
    #[case(&["artifacts", "1", "--all"], false)]
    #[case(&["artifacts", "1", "a", "--all", "--to", "out"], false)]
    #[case(&["artifacts", "1", "a", "--force"], false)]
    #[case(&["artifacts"], false)]
    #[case(&["changes", "@latest", "-o", "json"], true)]
    #[case(&["changes"], false)]
    #[case(&["run", "--with-file", "a:b", "--artifact", "*.log", "--fetch", "out", "true"], true)]
    #[case(&["run", "--fetch", "out", "true"], false)]
    #[case(&["submit", "--file", "job.json", "--artifact", "a"], false)]
    #[case(&["wait", "1", "2"], true)]
    #[case(&["wait"], false)]
    #[case(&["cancel", "1", "nightly"], true)]
    #[case(&["rm"], false)]
    #[case(&["token", "create", "--role", "worker", "--worker", "box"], true)]
    #[case(&["token", "create", "--role", "root"], false)]
    #[case(&["token", "create"], false)]
    #[case(&["token", "ls", "--token-file", "t", "-o", "json"], true)]
    #[case(&["token", "revoke", "1", "2"], true)]
    #[case(&["token", "revoke", "x"], false)]
    #[case(&["token"], false)]
    #[case(&["admin", "backup", "jobs.backup", "--data", "d"], true)]
    #[case(&["admin", "backup"], false)]
    #[case(&["admin", "restore", "jobs.backup", "--lease", "2m"], true)]
    #[case(&["admin", "restore", "jobs.backup", "--lease", "soon"], false)]
    #[case(&["admin", "migrate", "--from", "sqlite:a.db", "--to", "postgres://host/db"], true)]
    #[case(&["admin", "migrate", "--from", "sqlite:a.db"], false)]
    #[case(&["admin", "settle", "--database-url", "postgres://host/db"], true)]
    #[case(&["explain", "@latest", "-o", "json"], true)]
    #[case(&["explain"], false)]
    #[case(&["queues", "ls"], true)]
    #[case(&["queues", "pause", "default"], true)]
    #[case(&["queues", "limit", "default", "3"], true)]
    #[case(&["queues", "limit", "default", "0"], false)]
    #[case(&["queues", "resume", "a b"], false)]
    #[case(&["schedule", "create", "nightly", "--cron", "0 3 * * *", "--", "ls", "-la"], true)]
    #[case(&["schedule", "create", "n", "--cron", "@daily", "--time-zone", "Europe/Berlin",
        "--overlap", "replace", "--catch-up", "2h", "--name", "job", "-e", "A=b", "true"], true)]
    #[case(&["schedule", "create", "nightly", "true"], false)]
    #[case(&["schedule", "create", "nightly", "--cron", "@daily"], false)]
    #[case(&["schedule", "create", "a b", "--cron", "@daily", "true"], false)]
    #[case(&["schedule", "create", "n", "--cron", "@daily", "--overlap", "wait", "true"], false)]
    #[case(&["schedule", "ls", "-o", "name"], true)]
    #[case(&["schedule", "pause", "a", "b"], true)]
    #[case(&["schedule", "resume", "a"], true)]
    #[case(&["schedule", "rm"], false)]
    #[case(&["top", "--once", "--interval", "2s"], true)]
    #[case(&["top", "3"], false)]
    #[case(&["man", "images", "ls"], true)]
    #[case(&["man", "--to", "out"], true)]
    #[case(&["man", "run", "--to", "out"], false)]
    #[case(&["drain", "box", "--undo"], true)]
    #[case(&["drain"], false)]
    #[case(&["webhooks", "ls", "-o", "json"], true)]
    #[case(&["webhooks", "add", "https://a.example", "--on", "failed", "--on", "Cancelled"], true)]
    #[case(&["webhooks", "add", "https://a.example", "--queue", "build", "-l", "team=core"], true)]
    #[case(&["webhooks", "add", "https://a.example", "--on", "running"], false)]
    #[case(&["webhooks", "add", "https://a.example", "--secret", "whsec_AAAA"], false)]
    #[case(&["webhooks", "add"], false)]
    #[case(&["webhooks", "rm", "1", "2"], true)]
    #[case(&["webhooks", "rm"], false)]
    #[case(&["webhooks", "deliveries", "1", "-o", "name"], true)]
    #[case(&["webhooks", "deliveries", "0"], false)]
    #[case(&["webhooks", "retry", "1", "7"], true)]
    #[case(&["webhooks", "retry", "1"], false)]
    #[case(&["webhooks"], false)]
    #[case(&["images"], true)]
    #[case(&["images", "build", "gcc"], true)]
    #[case(&["doctor", "-o", "json"], true)]
    #[case(&["completion", "bash"], true)]
    #[case(&["images", "build", "gcc", "--fresh"], true)]
    #[case(&["images", "rm"], false)]
    #[case(&["images", "rm", "gcc", "orchestra/gcc:0123456789ab"], true)]
    #[case(&["images", "prune", "--unused", "3d", "--dry-run"], true)]
    #[case(&["images", "prune", "--unused", "soon"], false)]
    #[case(&["completion", "cmd"], false)]
    #[case(&["dance"], false)]
    fn words_are_taken_or_refused(#[case] words: &[&str], #[case] taken: bool) {
        let parsed = Cli::try_parse_from([&["orchestra"], words].concat());
        assert_eq!(parsed.is_ok(), taken, "{:?}", parsed.err().map(|error| error.to_string()));
    }
}
