//! The `orchestra` command: its output, its exit codes, and what it leaves behind.

use std::path::Path;

use orchestra_contracts::{Job, JobId, JobStatus};
use orchestra_tests::{Api, Plan, Stack, engine, free_port, program, turn, unique_name, wait};
use rustix::process::Signal;
use serde_json::{Value, json};

#[tokio::test]
async fn run_prints_and_exits_like_its_job() {
    let Some(stack) = Plan::default().start().await else { return };
    let ran = stack.cli(&["run", "echo out; echo err >&2; exit 3"]).await.expect(3);
    assert_eq!(ran.stdout, "out\n");
    assert!(ran.stderr.contains("err\n"), "{ran:?}");
    let ran = stack.cli(&["run", "printf 'no line feed'"]).await.expect(0);
    assert_eq!(ran.stdout, "no line feed");
    let _ = stack.cli(&["run", "kill -9 $$"]).await.expect(137);

    let hello = stack.cli(&["run", "g++ Hello.cpp -o Hello && ./Hello"]).await.expect(0);
    assert!(hello.stdout.starts_with("Hello"), "{hello:?}");
    stack.stop().await;
}

#[tokio::test]
async fn an_interrupted_run_cancels_its_job() {
    let Some(stack) = Plan::default().start().await else { return };
    let mut command = program::command(["run", "sleep 600"]);
    command.env("ORCHESTRA_URL", stack.api.url("")).env("ORCHESTRA_GRACE", "1s");
    let mut run = program::Program::start("run", command, stack.folder().join("run.log"));
    let job = JobId(1);
    wait::until("the job to be submitted", wait::SOON, async || {
        (!stack.api.jobs("").await.is_empty()).then_some(())
    })
    .await;
    stack.api.reaches(job, JobStatus::Running).await;
    run.signal(Signal::INT);
    assert_eq!(stack.api.finished(job).await.status, JobStatus::Cancelled);
    let status = wait::until("run to end", wait::STOP, async || run.ended()).await;
    assert!(!status.success(), "{status}");
    engine::all_gone(&stack.workers[0].name).await;
    stack.stop().await;
}

#[tokio::test]
async fn every_verb_does_what_its_twin_of_curl_does() {
    let Some(stack) = Plan::default().start().await else { return };
    let json = async |arguments: &[&str]| -> Value {
        let ran = stack.cli(arguments).await.expect(0);
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    };
    let submitted =
        stack.cli(&["submit", "-o", "name", "echo hello; echo bad >&2"]).await.expect(0);
    assert_eq!(submitted.stdout.trim(), "1");
    let _ = stack.cli(&["wait", "1"]).await.expect(0);
    let failing = stack.cli(&["submit", "--name", "failing", "exit 9"]).await.expect(0);
    assert_eq!(failing.stdout.trim(), "2");
    let _ = stack.cli(&["wait", "1", "fail"]).await.expect(9);
    let _ = stack.cli(&["rm", "failing"]).await.expect(0);

    let job = json(&["get", "-o", "json", "1"]).await;
    assert_eq!((&job["status"], &job["output"]), (&json!("Completed"), &json!("hello\n")));
    assert_eq!(stack.cli(&["logs", "1"]).await.expect(0).stdout, "hello\n");
    assert_eq!(stack.cli(&["logs", "-f", "@latest"]).await.expect(0).stdout, "hello\n");
    assert_eq!(json(&["ls", "-o", "json"]).await.as_array().unwrap().len(), 1);
    assert!(stack.cli(&["ls"]).await.expect(0).stdout.contains("Completed"));

    let _ = stack.cli(&["submit", "sleep 600"]).await.expect(0);
    for verb in ["submit", "retry"] {
        if verb == "retry" {
            let _ = stack.cli(&["retry", "3"]).await.expect(0);
        }
        stack.api.reaches(JobId(3), JobStatus::Running).await;
        let _ = stack.cli(&["cancel", "3"]).await.expect(0);
        assert_eq!(stack.api.finished(JobId(3)).await.status, JobStatus::Cancelled);
    }
    let _ = stack.cli(&["rm", "1"]).await.expect(0);
    assert_eq!(stack.api.jobs("").await.iter().map(|job| job.id.0).collect::<Vec<_>>(), [3]);

    let workers = stack.cli(&["workers"]).await.expect(0).stdout;
    assert!(workers.contains(&stack.workers[0].name), "{workers}");
    assert!(stack.cli(&["images"]).await.expect(0).stdout.contains("gcc"));
    let doctor = stack.cli(&["doctor"]).await.expect(0).stdout;
    assert!(doctor.contains(&stack.api.url("")), "{doctor}");
    stack.stop().await;
}

fn without_engine(stack: &Stack, verb: &str) -> std::process::Command {
    let mut command = stack.command(&[verb]);
    command.env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    command
}

#[tokio::test]
async fn a_refusal_is_a_sentence_and_code_125() {
    let stack = Plan::default().workers(0).start().await.expect("no engine is needed");
    let doctor = program::run(without_engine(&stack, "doctor"), wait::COMMAND).await.expect(125);
    assert!(doctor.stdout.contains("to mend it"), "{doctor:?}");
    let worker = program::run(without_engine(&stack, "worker"), wait::COMMAND).await;
    assert!(worker.own_failure().contains("/nonexistent/docker.sock"));
    for arguments in [&["get", "7"][..], &["logs", "7"], &["cancel", "7"], &["submit", ""]] {
        let sentence = stack.cli(arguments).await.own_failure();
        assert!(
            sentence.contains(if arguments[0] == "submit" { "empty" } else { "7" }),
            "{sentence}"
        );
    }
    stack.stop().await;

    let mut command = program::command(["ls"]);
    let url = format!("http://127.0.0.1:{}", free_port());
    command.env("ORCHESTRA_URL", &url);
    let sentence = program::run(command, wait::COMMAND).await.own_failure();
    assert!(sentence.contains(&url), "{sentence}");
}

/// A command with its own data, worker-files, worker name and port.
fn alone(arguments: &[&str], folder: &Path, worker: &str, port: u16) -> std::process::Command {
    let mut command = program::command(arguments);
    command
        .current_dir(folder)
        .env("ORCHESTRA_LISTEN", format!("127.0.0.1:{port}"))
        .env("ORCHESTRA_DATA", folder.join("data"))
        .env("ORCHESTRA_WORKER_FILES", folder.join("worker-files"))
        .env("ORCHESTRA_WORKER_NAME", worker)
        .env("ORCHESTRA_SLOTS", "2");
    command
}

fn folder_with_files() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::create_dir(folder.path().join("worker-files")).expect("a new folder");
    folder
}

#[tokio::test]
async fn run_without_a_server_brings_its_own() {
    if !engine::is_there().await {
        return;
    }
    let _turn = turn().await;
    program::job_image().await;
    let (folder, worker) = (folder_with_files(), unique_name("run-alone"));
    for round in 1..=2 {
        let script = format!("echo round {round} | tee -a rounds; exit {round}");
        let command = alone(&["run", &script], folder.path(), &worker, free_port());
        let ran = program::run(command, wait::JOB).await.expect(round);
        assert_eq!(ran.stdout, format!("round {round}\n"));
        assert!(engine::containers_left(&worker).await.is_empty());
    }
    let rounds = std::fs::read_to_string(folder.path().join("worker-files/rounds")).unwrap();
    assert_eq!(rounds, "round 1\nround 2\n");
}

/// The second run finds the master of the first, which stays up until both are done.
#[tokio::test]
async fn two_runs_at_once_share_one_server() {
    if !engine::is_there().await {
        return;
    }
    let _turn = turn().await;
    program::job_image().await;
    let (folder, worker, port) = (folder_with_files(), unique_name("run-twice"), free_port());
    let meet = |mine: &str, other: &str| {
        let script =
            format!("touch {mine}; until [ -e {other} ]; do sleep 0.05; done; echo {mine}");
        program::run(alone(&["run", &script], folder.path(), &worker, port), wait::JOB)
    };
    let (one, two) = tokio::join!(meet("one", "two"), meet("two", "one"));
    assert_eq!((one.expect(0).stdout, two.expect(0).stdout), ("one\n".into(), "two\n".into()));
    assert!(engine::containers_left(&worker).await.is_empty());
}

#[tokio::test]
async fn up_serves_until_it_is_told_to_end() {
    if !engine::is_there().await {
        return;
    }
    let _turn = turn().await;
    program::job_image().await;
    let (folder, worker, port) = (folder_with_files(), unique_name("up"), free_port());
    let command = alone(&["up"], folder.path(), &worker, port);
    let mut up = program::Program::start("up", command, folder.path().join("up.log"));
    let api = Api::new(format!("http://127.0.0.1:{port}"));
    wait::until("up to be ready", wait::START, async || {
        assert!(up.ended().is_none(), "it ended: {}", up.printed());
        let answer = api.request(reqwest::Method::GET, "/readyz").send().await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
    let job: Job = api.run(&json!({"command": "echo up"})).await;
    assert_eq!((job.status, job.output.as_str()), (JobStatus::Completed, "up\n"));
    up.terminate().await;
    assert!(engine::containers_left(&worker).await.is_empty());
}
