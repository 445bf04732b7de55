//! The log: live, resumable, separable by stream, exact, and complete after the master was killed.
//!
//! Jobs wait for files in worker-files, so the tests control the order of events.

use std::{fs, ops::RangeInclusive, path::Path};

use futures::StreamExt;
use orchestra_contracts::{
    AttemptNo, Job, JobId, JobStatus, Outcome,
    event::{END, LOG, LogEvent, STATE},
    frame::{Body, Stream},
    paths,
};
use orchestra_tests::{Plan, Stack, program, wait};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

/// A bash loop that waits until the test makes this file.
fn until_there(file: &str) -> String {
    format!("until [ -e {file} ]; do sleep 0.02; done")
}

/// One numbered line each.
fn lines(numbers: RangeInclusive<usize>, word: &str) -> String {
    numbers.map(|number| format!("{word}{number}\n")).collect::<Vec<_>>().concat()
}

fn make(files: &Path, name: &str) {
    fs::write(files.join(name), "").expect("worker-files can be written");
}

#[tokio::test]
async fn curl_shows_a_job_while_it_runs() {
    let Some(stack) = Plan::default().start().await else { return };
    let job = stack.api.command(&format!("echo first; {}; echo second", until_there("go"))).await;
    let address = stack.api.url(&format!("{}?follow=true", paths::log(job.id)));
    let mut curl = tokio::process::Command::new("curl")
        .args(["-sS", "-N", &address])
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut shown = BufReader::new(curl.stdout.take().unwrap());

    let mut first = String::new();
    tokio::time::timeout(wait::JOB, shown.read_line(&mut first)).await.unwrap().unwrap();
    assert_eq!(first, "first\n");
    // Output is sent at once. A start may be held back up to 10 ms, to be sent with the end.
    stack.api.reaches(job.id, JobStatus::Running).await;

    make(stack.files(), "go");
    let mut rest = String::new();
    tokio::time::timeout(wait::JOB, shown.read_to_string(&mut rest)).await.unwrap().unwrap();
    assert_eq!(rest, "second\n");
    assert!(curl.wait().await.unwrap().success());
    assert_eq!(stack.api.finished(job.id).await.status, JobStatus::Completed);
    stack.stop().await;
}

/// Reads a job's events and keeps them across connections.
#[derive(Default)]
struct Follower {
    last_event_id: Option<String>,
    stdout: Vec<u8>,
    states: Vec<JobStatus>,
    end: Option<Job>,
}

impl Follower {
    /// Reads until `enough`, or until the connection ends.
    async fn read(&mut self, stack: &Stack, id: JobId, enough: impl Fn(&Self) -> bool) {
        let mut events = stack.api.events(id, self.last_event_id.as_deref()).await;
        let reading = async {
            while !enough(self) {
                let Some(event) = events.next().await else { return };
                assert!(self.end.is_none(), "an event after the end: {event:?}");
                if !event.id.is_empty() {
                    self.last_event_id = Some(event.id);
                }
                match event.event.as_str() {
                    LOG => self.take(&event.data),
                    STATE => self.states.push(job_in(&event.data).status),
                    END => self.end = Some(job_in(&event.data)),
                    other => panic!("there is no event {other:?}"),
                }
            }
        };
        tokio::time::timeout(wait::JOB, reading).await.expect("the event stream opens");
    }

    fn take(&mut self, data: &str) {
        let event: LogEvent = serde_json::from_str(data).expect("a log event");
        assert_eq!(event.attempt, AttemptNo(1));
        if let Body::Bytes(Stream::Stdout, bytes) = event.frame().expect("a frame's event").body {
            self.stdout.extend_from_slice(&bytes);
        }
    }
}

fn job_in(data: &str) -> Job {
    serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"))
}

#[tokio::test]
async fn events_resume_before_during_and_after_the_run() {
    let Some(stack) = Plan::default().slots(1).start().await else { return };
    let first = stack.api.command(&until_there("begin")).await;
    stack.api.reaches(first.id, JobStatus::Running).await;
    let command =
        format!("echo 1; {}; printf '2\\r\\n'; {}; echo 3", until_there("a"), until_there("b"));
    let id = stack.api.command(&command).await.id;

    let mut follower = Follower::default();
    follower.read(&stack, id, |seen| !seen.states.is_empty()).await;
    assert_eq!(follower.states, [JobStatus::Pending], "connected before the run");

    make(stack.files(), "begin");
    follower.read(&stack, id, |seen| seen.stdout == b"1\n").await;
    make(stack.files(), "a");
    follower.read(&stack, id, |seen| seen.stdout == b"1\n2\r\n").await;
    make(stack.files(), "b");
    stack.api.finished(id).await;
    follower.read(&stack, id, |_| false).await;
    assert_eq!(follower.stdout, b"1\n2\r\n3\n");
    let end = follower.end.take().expect("the last event is the end");
    assert_eq!(end.outcome, Some(Outcome::Exited { code: 0 }));
    assert_eq!(end.status, JobStatus::Completed);

    let mut late = Follower::default();
    late.read(&stack, id, |_| false).await;
    assert_eq!((late.stdout.as_slice(), late.end.is_some()), (&b"1\n2\r\n3\n"[..], true));
    stack.stop().await;
}

#[tokio::test]
async fn the_log_can_be_read_in_parts() {
    let Some(stack) = Plan::default().start().await else { return };
    let job = stack.api.run(&json!({"command": "seq 1 100; echo bad >&2", "timeout": "90s"})).await;
    let all = lines(1..=100, "");
    assert_eq!(stack.api.log(job.id, "?stream=stdout").await, all);
    assert_eq!(stack.api.log(job.id, "?stream=stderr").await, "bad\n");
    assert_eq!(stack.api.log(job.id, "?stream=stdout&tail=2").await, "99\n100\n");
    assert_eq!(stack.api.log(job.id, "?stream=stdout&attempt=1").await, all);

    let stamped = stack.api.log(job.id, "?stream=stderr&timestamps=true").await;
    let stamped = String::from_utf8(stamped.to_vec()).unwrap();
    let (time, line) = stamped.split_once(' ').unwrap();
    assert!(time.starts_with("20") && time.ends_with('Z') && line == "bad\n", "{stamped}");

    let part =
        stack.api.request(reqwest::Method::GET, &format!("{}?stream=stdout", paths::log(job.id)));
    let part = stack.api.send(part.header("range", "bytes=2-5")).await.expect(206);
    assert_eq!(part.text(), "2\n3\n");
    assert_eq!(part.header("content-range"), Some(format!("bytes 2-5/{}", all.len()).as_str()));
    stack.stop().await;
}

#[tokio::test]
async fn a_log_over_its_limit_keeps_its_head_and_its_tail() {
    let plan =
        Plan::default().setting("ORCHESTRA_LOG_HEAD", "64k").setting("ORCHESTRA_LOG_TAIL", "16k");
    let Some(stack) = plan.start().await else { return };
    let job = stack.api.run(&json!({"command": "seq 1 200000"})).await;
    assert_eq!((job.status, job.output_truncated), (JobStatus::Completed, true));
    let written = lines(1..=200_000, "");
    let log = stack.api.log(job.id, "?stream=stdout").await;
    let log = std::str::from_utf8(&log).unwrap();

    let (head, rest) = log.split_once("[orchestra: ").expect("a line says that bytes are missing");
    let (missing, tail) = rest.split_once(" bytes were left out here]\n").unwrap();
    // The gap's line starts on a new line.
    let head = if written.starts_with(head) { head } else { head.trim_end_matches('\n') };
    assert!(written.starts_with(head) && written.ends_with(tail));
    assert_eq!(head.len() + missing.parse::<usize>().unwrap() + tail.len(), written.len());
    assert!(head.len() >= 60 << 10 && tail.len() >= 15 << 10 && log.len() < 100 << 10);
    assert!(job.output.len() <= 64 << 10 && job.output.ends_with(tail));
    stack.stop().await;
}

#[tokio::test]
async fn eight_megabytes_of_noise_arrive_as_they_were() {
    let Some(stack) = Plan::default().start().await else { return };
    let job = stack.api.run(&json!({"command": "head -c 8388608 /dev/urandom | tee noise"})).await;
    assert_eq!(job.status, JobStatus::Completed, "{job:?}");
    assert!(job.output_truncated);
    let written = fs::read(stack.files().join("noise")).unwrap();
    let stored = stack.api.log(job.id, "?stream=stdout").await;
    assert_eq!((written.len(), stored.len()), (8 << 20, 8 << 20));
    assert_eq!(Sha256::digest(&stored), Sha256::digest(&written));
    stack.stop().await;
}

/// Counts until told to stop, so there is output before, during and after whatever happens meanwhile.
const COUNTING: &str = "i=0; until [ -e stop ]; do i=$((i + 1)); echo \"line $i\"; sleep 0.005; done; \
                        echo \"end $i\"";

#[tokio::test]
async fn a_killed_master_costs_no_line_and_no_retry() {
    let Some(mut stack) = Plan::default().start().await else { return };
    let run = program::run(stack.command(&["run", "--retries", "3", COUNTING]), wait::JOB);
    let meanwhile = async {
        let id = wait::until("the job to be submitted", wait::SOON, async || {
            Some(stack.api.jobs("").await.first()?.id)
        })
        .await;
        let mut follower = Follower::default();
        follower.read(&stack, id, |seen| seen.stdout.len() > 2_000).await;
        stack.kill_master();
        stack.restart_master().await;
        let before = follower.stdout.len();
        follower.read(&stack, id, |seen| seen.stdout.len() > before + 2_000).await;
        make(stack.files(), "stop");
        follower.read(&stack, id, |_| false).await;
        follower
    };
    let (ran, follower) = tokio::join!(run, meanwhile);

    let job = follower.end.expect("the events end with the job");
    assert_eq!((job.status, job.retry_count), (JobStatus::Completed, 0), "{job:?}");
    assert_eq!(stack.api.attempts(job.id).await.len(), 1);
    let log = stack.api.log(job.id, "?stream=stdout").await;
    let text = std::str::from_utf8(&log).unwrap();
    let count = text.lines().count() - 1;
    let exact = lines(1..=count, "line ") + &lines(count..=count, "end ");
    assert!(text == exact, "lines are missing or doubled:\n{text}");
    assert!(follower.stdout == exact.as_bytes(), "the events differ from the log");
    assert!(ran.expect(0).stdout == exact, "orchestra run printed something else");
    stack.stop().await;
}
