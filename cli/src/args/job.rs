//! What a job may be asked to be, shared by `run` and `submit`.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use orchestra_contracts::{
    JobId, JobRef, JobSpec, Network, Resources, Retry, RetryOn, Size, Span, Workspace, limits,
};

use super::{job_file, secret};
use crate::{failure::Failure, uploads::Uploads};

#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "The job")]
pub(crate) struct JobOptions {
    /// The image to run in: a folder under images/ [default: the worker's, usually gcc]
    #[arg(long)]
    image: Option<String>,

    /// An environment variable for the command; may be repeated
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = pair)]
    env: Vec<(String, String)>,

    /// A secret environment variable for the command, from this environment or from a file; may be
    /// repeated
    #[arg(long, value_name = "NAME[=@FILE]")]
    secret: Vec<String>,

    /// Time limit for each attempt, for example 90s or 10m
    #[arg(long)]
    timeout: Option<Span>,

    /// How many times to retry when the command fails [default: 0]
    #[arg(long, value_name = "N")]
    retries: Option<u32>,

    /// Longest wait before the first retry; doubles with each retry [default: the master's]
    #[arg(long, value_name = "TIME")]
    retry_backoff: Option<Span>,

    /// Retry only after this kind of failure; may be repeated [default: any]
    #[arg(long, value_name = "exited|signalled|timedOut|outOfMemory")]
    retry_on: Vec<RetryOn>,

    /// Do not run the job again if its worker is lost, because it may have run
    #[arg(long)]
    at_most_once: bool,

    /// How long the job stays with a worker that does not respond [default: the master's]
    #[arg(long, value_name = "TIME")]
    lease: Option<Span>,

    /// A name to find the job by
    #[arg(long)]
    name: Option<String>,

    /// A label; may be repeated
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,

    /// A label that the worker must have; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    require: Vec<(String, String)>,

    /// Memory limit, for example 512m or 1g
    #[arg(long, value_name = "SIZE")]
    memory: Option<Size>,

    /// CPU cores; fractions allowed
    #[arg(long, value_name = "CORES")]
    cpus: Option<f64>,

    /// Limit of processes and threads
    #[arg(long, value_name = "N")]
    pids: Option<u32>,

    /// Size of /tmp, which is kept in memory
    #[arg(long, value_name = "SIZE")]
    tmp: Option<Size>,

    /// How much of the log to keep, head and tail [default: the worker's limit]
    #[arg(long, value_name = "SIZE")]
    max_log: Option<Size>,

    /// Network access of the command
    #[arg(long, value_name = "none|bridge", value_parser = network)]
    network: Option<Network>,

    /// Run in an empty private folder, which is deleted when the job ends, instead of worker-files
    #[arg(long)]
    private: bool,

    /// A file for the command's standard input; - for this command's standard input
    #[arg(long, value_name = "FILE")]
    stdin: Option<PathBuf>,

    /// Copy a local file into the job's folder, under the same path or under TARGET, for example
    /// src/main.py:main.py; may be repeated
    #[arg(long, value_name = "PATH[:TARGET]")]
    with_file: Vec<String>,

    /// Files to keep when the job has ended, for example 'build/*.tar.gz' or '**/report.xml'; may
    /// be repeated. `orchestra artifacts` fetches them
    #[arg(long, value_name = "PATTERN")]
    artifact: Vec<String>,

    /// Wait at least this long before starting the job, for example 10m
    #[arg(long, value_name = "TIME", conflicts_with = "not_before")]
    delay: Option<Span>,

    /// Do not start the job before this time, for example 2026-01-31T18:00:00+01:00
    #[arg(long, value_name = "TIME", value_parser = moment)]
    not_before: Option<Timestamp>,

    /// A job that must complete before this one starts; may be repeated
    #[arg(long, value_name = "ID")]
    after: Vec<JobId>,

    /// A job that must end, with any result, before this one starts; may be repeated
    #[arg(long, value_name = "ID")]
    after_any: Vec<JobId>,

    /// A job that must fail before this one starts; may be repeated
    #[arg(long, value_name = "ID")]
    after_failed: Vec<JobId>,

    /// The queue to wait in [default: default]
    #[arg(long)]
    queue: Option<String>,

    /// Jobs with a higher priority go first [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,
}

impl JobOptions {
    /// The job that runs `words`, joined with spaces, as its script, and what has to be brought
    /// before it is submitted.
    pub(crate) fn spec(self, words: &[String]) -> Result<(JobSpec, Uploads), Failure> {
        let mut spec = JobSpec::new(words.join(" "));
        spec.stdin = self.stdin.map(|path| read(&path, limits::STDIN_BYTES)).transpose()?;
        let uploads;
        (spec.files, uploads) = job_file::all(&self.with_file)?;
        spec.artifacts = self.artifact;
        spec.image = self.image;
        spec.env = BTreeMap::from_iter(self.env);
        spec.secrets = secret::all(&self.secret)?;
        spec.timeout = self.timeout;
        spec.max_retries = self.retries.unwrap_or(spec.max_retries);
        let on = (!self.retry_on.is_empty()).then_some(self.retry_on);
        spec.retry = Retry { backoff: self.retry_backoff, on_lost: !self.at_most_once, on };
        spec.max_log = self.max_log;
        spec.lease = self.lease;
        spec.name = self.name;
        spec.labels = BTreeMap::from_iter(self.label);
        spec.requires = BTreeMap::from_iter(self.require);
        spec.network = self.network.unwrap_or(spec.network);
        spec.workspace = if self.private { Workspace::Private } else { Workspace::Shared };
        spec.delay = self.delay;
        spec.not_before = self.not_before;
        let jobs = |ids: Vec<JobId>| ids.into_iter().map(JobRef::Id).collect();
        spec.after = jobs(self.after);
        spec.after_any = jobs(self.after_any);
        spec.after_failed = jobs(self.after_failed);
        spec.queue = self.queue.unwrap_or(spec.queue);
        spec.priority = self.priority.unwrap_or(spec.priority);
        spec.resources =
            Resources { cpus: self.cpus, memory: self.memory, pids: self.pids, tmp: self.tmp };
        Ok((spec, uploads))
    }
}

/// The text of a file, `-` being standard input, of at most so many bytes.
pub(crate) fn read(path: &Path, most: usize) -> Result<String, Failure> {
    let refuse = |why: &dyn std::fmt::Display| {
        Failure::said(format!("{} cannot be taken as input: {why}", path.display()))
    };
    let limit = most as u64 + 1;
    let mut bytes = Vec::new();
    let read = if path.as_os_str() == "-" {
        io::stdin().take(limit).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    read.map_err(|error| refuse(&error))?;
    if bytes.len() > most {
        return Err(refuse(&format!("it has more than {} bytes", Size(most as u64))));
    }
    String::from_utf8(bytes).map_err(|_| refuse(&"it is not UTF-8 text"))
}

pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}

fn moment(text: &str) -> Result<Timestamp, String> {
    let refuse = |_| "write it as 2026-01-31T18:00:00Z, or with an offset like +01:00".to_owned();
    text.parse().map_err(refuse)
}

fn network(text: &str) -> Result<Network, String> {
    match text {
        "none" => Ok(Network::None),
        "bridge" => Ok(Network::Bridge),
        _ => Err("a job's network is none or bridge".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use orchestra_contracts::Secret;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        options: JobOptions,
        words: Vec<String>,
    }

    fn spec(arguments: &[&str]) -> JobSpec {
        let program = Program::parse_from([&["program"], arguments].concat());
        program.options.spec(&program.words).unwrap().0
    }

    #[test]
    fn nothing_said_is_nothing_changed() {
        assert_eq!(spec(&["echo hi"]), JobSpec::new("echo hi"));
        assert_eq!(spec(&["--", "ls", "-la", "a b"]), JobSpec::new("ls -la a b"));
    }

    #[test]
    fn every_option_has_its_field() {
        let mut expected = JobSpec::new("true");
        expected.image = Some("python".into());
        expected.env = [("A".into(), "b=c".into()), ("E".into(), String::new())].into();
        let path = Secret::new(secret::variable("PATH").unwrap());
        expected.secrets = [("PATH".into(), path)].into();
        expected.timeout = Some(Span::from_secs(90));
        expected.max_retries = 3;
        let on = Some(vec![RetryOn::TimedOut, RetryOn::Exited]);
        expected.retry = Retry { backoff: Some(Span::from_secs(5)), on_lost: false, on };
        expected.max_log = Some(Size::mib(1));
        expected.lease = Some(Span::from_secs(600));
        expected.name = Some("nightly".into());
        expected.labels = [("team".into(), "core".into())].into();
        expected.requires = [("gpu".into(), "yes".into()), ("zone".into(), "a".into())].into();
        expected.network = Network::Bridge;
        expected.workspace = Workspace::Private;
        expected.not_before = Some("2026-01-31T17:00:00Z".parse().unwrap());
        let job = |id| JobRef::Id(JobId(id));
        (expected.after, expected.after_any) = (vec![job(3), job(4)], vec![job(5)]);
        expected.after_failed = vec![job(6)];
        expected.artifacts = vec!["*.log".into(), "a/**/b".into()];
        expected.queue = "slow".into();
        expected.priority = -5;
        expected.resources = Resources {
            cpus: Some(0.5),
            memory: Some(Size::mib(1024)),
            pids: Some(9),
            tmp: Some(Size::mib(8)),
        };
        let words = "--image python -e A=b=c --env E= --secret PATH --timeout 90s --retries 3 --name nightly \
                     --retry-on timedOut --retry-on exited --max-log 1m --retry-backoff 5s --at-most-once --lease 10m \
                     -l team=core --require gpu=yes --require zone=a --network bridge --private --artifact *.log --artifact a/**/b --not-before 2026-01-31T18:00:00+01:00 --queue slow --priority -5 --cpus 0.5 \
                     --after 3 --after 4 --after-any 5 --after-failed 6 --memory 1g --pids 9 --tmp 8m true";
        assert_eq!(spec(&words.split_whitespace().collect::<Vec<_>>()), expected);
        assert_eq!(spec(&["--delay", "10m", "true"]).delay, Some(Span::from_secs(600)));
    }

    #[test]
    fn standard_input_comes_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("input");
        std::fs::write(&path, "line\n").unwrap();
        let spec = spec(&["--stdin", path.to_str().unwrap(), "cat"]);
        assert_eq!(spec.stdin.as_deref(), Some("line\n"));
        for (name, content, reason) in [
            ("missing", None, "No such file"),
            ("long", Some(&b"12345"[..]), "more than 4 bytes"),
            ("binary", Some(b"\xff"), "not UTF-8"),
        ] {
            let path = folder.path().join(name);
            if let Some(content) = content {
                std::fs::write(&path, content).unwrap();
            }
            let error = read(&path, 4).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(reason), "{error}");
        }
    }
}
