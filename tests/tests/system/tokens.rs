//! Access with the real programs: nobody without a token where others can reach the master, each role
//! within its limits, and nobody after a revocation.

use std::{fs, time::Instant};

use orchestra_contracts::{JobId, JobStatus, ProblemKind, TokenId, frame};
use orchestra_tests::{
    Api, Plan, Stack, engine, free_port,
    program::{self, Program},
    wait,
};
use serde_json::{Value, json};

fn master_on(address: &str, folder: &std::path::Path) -> std::process::Command {
    let mut command = program::command(["master"]);
    command.env("ORCHESTRA_LISTEN", address).env("ORCHESTRA_DATA", folder.join("data"));
    command
}

#[tokio::test]
async fn no_master_opens_to_others_without_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let command = master_on(&format!("0.0.0.0:{}", free_port()), folder.path());
    let sentence = program::run(command, wait::COMMAND).await.own_failure();
    assert!(sentence.contains("--tokens") && sentence.contains("127.0.0.1"), "{sentence}");
}

#[tokio::test]
async fn up_at_any_address_lends_itself_a_token() {
    if !engine::is_there().await {
        return;
    }
    let _turn = orchestra_tests::turn().await;
    program::job_image().await;
    let folder = tempfile::tempdir().unwrap();
    let (port, worker) = (free_port(), orchestra_tests::unique_name("up-tokens"));
    let mut command = program::command(["run", "echo let in"]);
    command
        .current_dir(folder.path())
        .env("ORCHESTRA_LISTEN", format!("0.0.0.0:{port}"))
        .env("ORCHESTRA_DATA", folder.path().join("data"))
        .env("ORCHESTRA_TOKENS", folder.path().join("tokens"))
        .env("ORCHESTRA_WORKER_FILES", folder.path().join("worker-files"))
        .env("ORCHESTRA_WORKER_NAME", &worker);
    let ran = program::run(command, wait::JOB).await.expect(0);
    assert_eq!(ran.stdout, "let in\n");
    assert!(engine::containers_left(&worker).await.is_empty());
}

/// An `orchestra` command with the token of this role.
fn as_role(stack: &Stack, role: &str, arguments: &[&str]) -> std::process::Command {
    let mut command = stack.command(arguments);
    command.env("ORCHESTRA_TOKEN_FILE", stack.token_file(role));
    command
}

#[tokio::test]
async fn each_role_goes_as_far_as_it_may() {
    let Some(stack) = Plan::default().with_tokens().start().await else { return };
    let nobody = program::run(stack.command(&["ls"]), wait::COMMAND).await.own_failure();
    assert!(nobody.contains("ORCHESTRA_TOKEN_FILE"), "{nobody}");

    let run = as_role(&stack, "client", &["run", "echo by a client"]);
    assert_eq!(program::run(run, wait::JOB).await.expect(0).stdout, "by a client\n");
    for (role, verb) in [("worker", &["ls"][..]), ("client", &["token", "ls"])] {
        let refused = program::run(as_role(&stack, role, verb), wait::COMMAND).await.own_failure();
        assert!(refused.contains(role), "{refused}");
    }

    let create = ["token", "create", "--role", "client", "--name", "laptop"];
    let made = program::run(as_role(&stack, "admin", &create), wait::COMMAND).await.expect(0);
    let token = made.stdout.trim().to_owned();
    let mut command = stack.command(&["ls", "-o", "json"]);
    command.env("ORCHESTRA_TOKEN", &token);
    let _ = program::run(command, wait::COMMAND).await.expect(0);
    let list = as_role(&stack, "admin", &["token", "ls"]);
    let list = program::run(list, wait::COMMAND).await.expect(0).stdout;
    assert!(list.contains("laptop") && !list.contains(&token), "{list}");

    // No program has printed a token.
    let mut secrets = vec![token];
    for role in ["client", "worker", "admin"] {
        secrets.push(fs::read_to_string(stack.token_file(role)).unwrap().trim().to_owned());
    }
    let printed = stack.master_printed() + &stack.workers[0].program.printed();
    assert!(!secrets.iter().any(|secret| printed.contains(secret)), "a token is in a log");
    stack.stop().await;
}

/// Makes job 1, held by a worker that has uploaded this output.
async fn running_with_output(api: &Api) -> &'static str {
    let spoken = "said before";
    api.command("true").await;
    let _ = api.post("/api/job/claim", &json!("me")).await.expect(200);
    let body = frame::Body::Bytes(frame::Stream::Stdout, spoken.into());
    let mut frames = bytes::BytesMut::new();
    frame::Frame { time: 1, body }.encode(&mut frames);
    let upload = api
        .request(reqwest::Method::POST, "/api/job/1/attempts/1/log?offset=0&worker=me")
        .header("content-type", "application/octet-stream")
        .body(frames.freeze());
    let _ = api.send(upload).await.expect(200);
    spoken
}

#[tokio::test]
async fn what_is_followed_ends_within_seconds_when_its_token_is_revoked() {
    let plan = Plan::default().workers(0).with_tokens();
    let stack = plan.start().await.expect("a master alone needs no engine");
    let spoken = running_with_output(&stack.api).await;
    let wanted = json!({"role": "client"});
    let issued: Value = stack.api.post("/api/token", &wanted).await.expect(201).json();
    let mut follow = stack.command(&["logs", "-f", "1"]);
    follow.env("ORCHESTRA_TOKEN", issued["token"].as_str().unwrap());
    let mut follow = Program::start("logs", follow, stack.folder().join("logs.log"));
    wait::until("the output to be shown", wait::SOON, async || {
        follow.printed().contains(spoken).then_some(())
    })
    .await;
    let mine = stack.api.clone().with_token(issued["token"].as_str().unwrap());
    let waiting = mine.request(reqwest::Method::GET, "/api/job/1?wait=5m");

    let begun = Instant::now();
    let revoke = async {
        let id: TokenId = serde_json::from_value(issued["id"].clone()).unwrap();
        let path = orchestra_contracts::paths::token(id);
        let reply = stack.api.send(stack.api.request(reqwest::Method::DELETE, &path)).await;
        let _ = reply.expect(200);
    };
    let (waited, ()) = tokio::join!(mine.send(waiting), revoke);
    waited.problem(401, ProblemKind::Unauthenticated);
    let status = wait::until("logs to end", wait::SOON, async || follow.ended()).await;
    assert_eq!(status.code(), Some(125), "{}", follow.printed());
    // Most of this is the reader, which retries before it gives up.
    assert!(begun.elapsed().as_secs() < 15, "{:?}", begun.elapsed());
    assert_eq!(stack.api.job(JobId(1)).await.status, JobStatus::Assigned);
    stack.stop().await;
}
