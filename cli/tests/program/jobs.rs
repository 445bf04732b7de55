//! The verbs about jobs, against a real master whose only worker is the test.

use std::process::Output;

use bytes::BytesMut;
use clap::Parser;
use orchestra_client::Client;
use orchestra_contracts::{
    Job, JobId, JobSpec, JobStatus, Outcome, Span,
    frame::{Body, Frame, Stream},
    worker::{ClaimTerms, Claimed, JobUpdate, Lease, LeaseRef, LogEnd, Registration},
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::{orchestra, sentence, text};

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    master: orchestra_master::Config,
}

/// The report of an attempt that exited with this code, and left nothing.
pub(crate) fn ended(id: JobId, lease: Lease, code: i32) -> JobUpdate {
    JobUpdate {
        id,
        status: if code == 0 { JobStatus::Completed } else { JobStatus::Failed },
        assigned_worker: "w".parse().unwrap(),
        attempt: Some(lease.attempt),
        lease_token: Some(lease.token),
        exit_code: Some(code),
        output: None,
        error: None,
        outcome: Some(Outcome::Exited { code }),
        usage: None,
        ran: None,
        log: None,
        rest: None,
        artifacts: Vec::new(),
        changes: None,
        claim: None,
    }
}

/// A master with a database of its own.
pub(crate) struct Master {
    pub(crate) client: Client,
    shutdown: CancellationToken,
    task: JoinSet<()>,
    _data: TempDir,
}

impl Master {
    pub(crate) async fn start() -> Self {
        let data = TempDir::new().unwrap();
        let folder = data.path().to_str().unwrap();
        let words =
            ["master", "--listen", "127.0.0.1:0", "--data", folder, "--retry-backoff", "1ms"];
        let config = Settings::parse_from(words).master;
        let listener = orchestra_master::bind(&config).await.unwrap();
        let client = Client::new(&listener.local_addr().unwrap().to_string()).unwrap();
        let (shutdown, mut task) = (CancellationToken::new(), JoinSet::new());
        let stop = shutdown.clone();
        task.spawn(async move { orchestra_master::run(listener, config, stop).await.unwrap() });
        let registration = Registration {
            slots: 1,
            queues: vec!["default".into()],
            version: "0".into(),
            ..Registration::default()
        };
        client.register(&"w".parse().unwrap(), &registration).await.unwrap();
        Self { client, shutdown, task, _data: data }
    }

    pub(crate) async fn cli(&self, arguments: &[&str]) -> Output {
        orchestra(arguments, &[("ORCHESTRA_URL", self.client.url())]).await
    }

    /// What it prints, all being well.
    pub(crate) async fn prints(&self, arguments: &[&str]) -> String {
        let output = self.cli(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        text(&output.stdout).to_owned()
    }

    pub(crate) async fn submit(&self, change: impl FnOnce(&mut JobSpec)) -> Job {
        let mut spec = JobSpec::new("echo");
        change(&mut spec);
        self.client.submit(&spec).await.unwrap()
    }

    pub(crate) async fn claim(&self) -> Claimed {
        let terms = ClaimTerms {
            worker: "w".parse().unwrap(),
            slots: 1,
            wait: Span::from_secs(30),
            queues: vec!["default".into()],
            request_id: None,
        };
        self.client.claim(&terms).await.unwrap().remove(0)
    }

    /// Runs the next job: it prints these pieces and exits with this code.
    async fn work(&self, pieces: &[(Stream, &'static str)], code: i32) {
        let Claimed { job, lease } = self.claim().await;
        let worker = "w".parse().unwrap();
        let (mut log, mut crc32) = (BytesMut::new(), crc32fast::Hasher::new());
        for (time, &(stream, piece)) in (1..).zip(pieces) {
            let body = Body::Bytes(stream, piece.into());
            Frame { time: time * 1_000_000, body }.encode(&mut log);
            if stream != Stream::System {
                crc32.update(piece.as_bytes());
            }
        }
        let end = LogEnd { offset: log.len() as u64, crc32: crc32.finalize() };
        let fence = LeaseRef { job: job.id, attempt: lease.attempt, token: lease.token.clone() };
        if !log.is_empty() {
            self.client.append_log(&worker, &fence, 0, log.freeze()).await.unwrap();
        }
        let update = JobUpdate { log: Some(end), ..ended(job.id, lease, code) };
        self.client.update(&update).await.unwrap();
    }

    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        self.task.join_next().await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn logs_show_the_part_that_is_asked_for() {
    use Stream::{Stderr, Stdout, System};
    let master = Master::start().await;
    master.submit(|spec| spec.max_retries = 1).await;
    assert_eq!(master.prints(&["logs", "1"]).await, "");
    master.work(&[(Stdout, "first\n")], 1).await;
    let log = [(System, "pulled\n"), (Stdout, "a\nb"), (Stderr, "bad\n"), (Stdout, "b\nc\n")];
    master.work(&log, 2).await;

    let both = master.cli(&["logs", "1"]).await;
    assert_eq!((text(&both.stdout), text(&both.stderr)), ("a\nbb\nc\n", "bad\n"));
    for (arguments, printed) in [
        (&["logs", "-f", "1"][..], "a\nbb\nc\n"),
        (&["logs", "--attempt", "1", "1"], "first\n"),
        (&["logs", "--attempt", "1", "-f", "1"], "first\n"),
        (&["logs", "-n", "1", "1"], "c\n"),
        (&["logs", "-n", "1", "-f", "1"], "c\n"),
        (&["logs", "-n", "0", "1"], ""),
        (&["logs", "--stream", "stderr", "1"], "bad\n"),
        (&["logs", "--stream", "system", "1"], "pulled\n"),
        (
            &["logs", "-t", "-n", "2", "--stream", "stdout", "1"],
            "1970-01-01T00:00:02.000000Z bb\n1970-01-01T00:00:04.000000Z c\n",
        ),
    ] {
        assert_eq!(master.prints(arguments).await, printed, "{arguments:?}");
    }
    let missing = master.cli(&["logs", "--attempt", "3", "1"]).await;
    assert_eq!(sentence(&missing), "job 1 has no attempt 3");
    master.stop().await;
}

/// What a terminal would obey reaches one only on request, and colours always.
#[tokio::test]
async fn a_terminal_is_told_nothing_but_colours() {
    const HOSTILE: &str = "\u{1b}[31mred\u{1b}[0m \u{1b}]52;c;cm0K\u{7} \u{9b}2J\n";
    let master = Master::start().await;
    master.submit(|_| ()).await;
    master.work(&[(Stream::Stdout, HOSTILE), (Stream::Stderr, HOSTILE)], 0).await;
    let on_a_terminal = async |more: &str| {
        let program = env!("CARGO_BIN_EXE_orchestra");
        let line = format!("{program} logs 1 {more}");
        let mut script = tokio::process::Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).env("ORCHESTRA_URL", master.client.url());
        let output = script.stdin(std::process::Stdio::null()).output().await.unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let shown = on_a_terminal("").await;
    let inert = "\u{1b}[31mred\u{1b}[0m \\u{1b}]52;c;cm0K\\u{7} \\u{9b}2J\r\n";
    assert_eq!(shown.matches(inert).count(), 2, "{shown:?}");
    let raw = on_a_terminal("--raw").await;
    assert_eq!(raw.matches(&HOSTILE.replace('\n', "\r\n")).count(), 2, "{raw:?}");
    let piped = master.cli(&["logs", "1"]).await;
    assert_eq!((text(&piped.stdout), text(&piped.stderr)), (HOSTILE, HOSTILE));
    master.stop().await;
}

#[tokio::test]
async fn run_shows_every_attempt_and_exits_like_the_last() {
    let master = Master::start().await;
    let arguments = ["run", "--retries", "1", "--name", "twice", "echo"];
    let (ran, ()) = tokio::join!(master.cli(&arguments), async {
        master.work(&[(Stream::System, "hidden\n"), (Stream::Stdout, "one\n")], 3).await;
        master.work(&[(Stream::Stdout, "two"), (Stream::Stderr, "\u{1b}[31mraw")], 4).await;
    });
    assert_eq!(ran.status.code(), Some(4), "{ran:?}");
    assert_eq!(text(&ran.stdout), "one\ntwo");
    let said = text(&ran.stderr);
    assert!(said.ends_with("\u{1b}[31mraw") && !said.contains("hidden"), "{said}");
    let again = "orchestra: attempt 1: exited with code 3; it is tried again\n";
    // A busy machine may say before that why the job waits.
    assert!(said.contains(again), "{said}");
    master.stop().await;
}

#[tokio::test]
async fn jobs_are_found_listed_and_waited_for() {
    let master = Master::start().await;
    for name in ["nightly", "nightly", "build"] {
        master.submit(|spec| spec.name = Some(name.to_owned())).await;
    }
    for code in [0, 5, 0] {
        master.work(&[], code).await;
    }
    let id = async |name: &str| master.prints(&["get", "-o", "name", name]).await;
    assert_eq!(id("@latest").await, "3\n");
    assert_eq!(id("night").await, "2\n");
    assert_eq!(id("b").await, "3\n");
    assert!(sentence(&master.cli(&["get", "none"]).await).contains("no job \"none\""));

    let first = master.cli(&["ls", "-o", "name", "-n", "2"]).await;
    assert_eq!(text(&first.stdout), "3\n2\n");
    let said = text(&first.stderr);
    let cursor = said.split("--cursor ").nth(1).unwrap().split(',').next().unwrap();
    assert_eq!(master.prints(&["ls", "-o", "name", "--cursor", cursor]).await, "1\n");
    assert_eq!(master.prints(&["ls", "-o", "name", "--all"]).await, "3\n2\n1\n");
    assert_eq!(master.prints(&["ls", "-o", "name", "-s", "failed", "night"]).await, "2\n");
    let json: Vec<Value> =
        serde_json::from_str(&master.prints(&["ls", "-o", "json"]).await).unwrap();
    assert_eq!(json[0]["name"], "build");

    let waited = master.cli(&["wait", "1", "2", "3"]).await;
    assert_eq!(waited.status.code(), Some(5));
    assert_eq!(text(&waited.stdout), "1 Completed\n2 Failed\n3 Completed\n");
    assert!(master.prints(&["workers"]).await.contains("online"));
    master.stop().await;
}

#[tokio::test]
async fn what_was_submitted_can_be_changed_in_its_course() {
    let master = Master::start().await;
    assert_eq!(master.prints(&["submit", "-l", "team=core", "sleep 9"]).await, "1\n");
    assert_eq!(master.prints(&["cancel", "1"]).await, "1\n");
    let waited = master.cli(&["wait", "1"]).await;
    assert_eq!(sentence_after("1 Cancelled\n", &waited), "job 1: cancelled");
    assert_eq!(master.prints(&["retry", "1"]).await, "1\n");
    master.work(&[], 0).await;
    assert_eq!(master.prints(&["wait", "-o", "name", "1"]).await, "1\n");
    assert_eq!(master.prints(&["rm", "1"]).await, "1\n");
    assert!(sentence(&master.cli(&["get", "1"]).await).contains('1'));
    assert_eq!(sentence(&master.cli(&["get", "@latest"]).await), "there are no jobs yet");
    master.stop().await;
}

#[tokio::test]
async fn an_array_is_waited_for_cancelled_and_removed_at_once() {
    let master = Master::start().await;
    assert_eq!(master.prints(&["submit", "true"]).await, "1\n");
    assert_eq!(master.prints(&["submit", "--array", "1-4", "true"]).await, "2\n3\n4\n5\n");
    master.work(&[], 0).await;
    master.work(&[], 0).await;
    assert_eq!(master.prints(&["ls", "-o", "name", "--array", "2"]).await, "5\n4\n3\n2\n");
    assert_eq!(master.prints(&["cancel", "--array", "3"]).await, "3\n4\n5\n");
    let again = master.cli(&["cancel", "--array", "3"]).await;
    assert_eq!(sentence(&again), "no job of the array 2 is left for that");
    let waited = master.cli(&["wait", "-o", "name", "--array", "2"]).await;
    assert_eq!(text(&waited.stdout), "2\n3\n4\n5\n");
    assert_eq!(master.prints(&["retry", "--array", "2"]).await, "3\n4\n5\n");
    assert_eq!(sentence(&master.cli(&["rm", "--array", "1"]).await), "job 1 is of no array");
    assert_eq!(master.prints(&["rm", "--array", "5"]).await, "2\n3\n4\n5\n");
    assert_eq!(master.prints(&["ls", "-o", "name"]).await, "1\n");
    master.stop().await;
}

/// The one line on standard error of a program that printed this first.
fn sentence_after<'a>(printed: &str, output: &'a Output) -> &'a str {
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(125), printed));
    text(&output.stderr).strip_prefix("orchestra: ").unwrap().trim_end()
}

/// Where there is no terminal it is one picture.
#[tokio::test]
async fn top_prints_how_things_stand() {
    let master = Master::start().await;
    for command in ["echo one", "echo two"] {
        master.prints(&["submit", command]).await;
    }
    master.prints(&["cancel", "1"]).await;
    let printed = master.prints(&["top"]).await;
    assert!(printed.contains("0 running, 1 waiting; 1 of 1 workers online"), "{printed}");
    let row = |id: &str| printed.lines().find(|line| line.starts_with(id)).unwrap().to_owned();
    assert!(row("2 ").contains("Pending") && row("2 ").contains("echo two"), "{printed}");
    assert!(row("1 ").contains("Cancelled"), "{printed}");
    assert_eq!(master.prints(&["top", "--once"]).await.lines().count(), printed.lines().count());
    master.stop().await;
}
