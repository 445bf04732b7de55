//! Bad input to the shipped program. `master/tests/it/bad_input/` lists what is refused, and how.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use orchestra_contracts::{JobId, JobStatus, ProblemKind, paths};
use orchestra_tests::{Plan, Reply, Stack};
use reqwest::{Method, header::CONTENT_TYPE};
use serde_json::json;

const JSON: &str = "application/json";

async fn send(stack: &Stack, path: &str, kind: &str, body: impl Into<reqwest::Body>) -> Reply {
    let request = stack.api.request(Method::POST, path).header(CONTENT_TYPE, kind);
    stack.api.send(request.body(body)).await
}

/// A master with one pending job, which every test checks afterwards.
async fn master_with_a_job() -> Stack {
    let stack = Plan::default().workers(0).start().await.expect("a master alone needs no engine");
    stack.api.command("echo still here").await;
    stack
}

/// Asserts that this job is unchanged and that no other was made.
async fn nothing_changed(stack: Stack) {
    let jobs = stack.api.jobs("").await;
    assert_eq!(jobs.len(), 1, "a refused job was stored: {jobs:?}");
    assert_eq!((jobs[0].id, jobs[0].status), (JobId(1), JobStatus::Pending));
    stack.stop().await;
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_refused() {
    let stack = master_with_a_job().await;
    let good = r#"{"command": "true"}"#;
    for body in [
        &b""[..],
        b"{",
        b"command=true",
        b"{\"command\": \"tr\xffue\"}",
        br#"{"command": "\ud800"}"#,
        br#"{"command": "true"} {"command": "true"}"#,
        "[".repeat(100_000).as_bytes(),
    ] {
        let reply = send(&stack, paths::JOBS, JSON, body.to_vec()).await;
        reply.problem(400, ProblemKind::Unreadable);
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/xml", "nonsense"] {
        let reply = send(&stack, paths::JOBS, kind, good).await;
        reply.problem(415, ProblemKind::UnsupportedMediaType);
    }
    let untyped = stack.api.request(Method::POST, paths::JOBS).body(good);
    stack.api.send(untyped).await.problem(415, ProblemKind::UnsupportedMediaType);
    for path in [paths::JOBS, paths::CLAIM, paths::UPDATE] {
        let reply = send(&stack, path, JSON, vec![b' '; 11_000_000]).await;
        reply.problem(413, ProblemKind::TooLarge);
    }
    nothing_changed(stack).await;
}

/// Bytes that are not HTTP. The answer is an error or a closed connection.
#[tokio::test]
async fn a_connection_that_does_not_speak_http_harms_nobody() {
    let stack = master_with_a_job().await;
    let headers = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "y".repeat(1 << 20));
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01"[..],
        b"nonsense\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        headers.as_bytes(),
    ] {
        let mut connection = TcpStream::connect(("127.0.0.1", stack.port)).unwrap();
        connection.set_read_timeout(Some(orchestra_tests::wait::SOON)).unwrap();
        // The master may close the connection before it has read everything.
        let _ = connection.write_all(bytes);
        let _ = connection.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = connection.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    nothing_changed(stack).await;
}

#[tokio::test]
async fn a_good_job_runs_after_all_the_bad_ones() {
    let Some(stack) = Plan::default().start().await else { return };
    for body in [&b"{"[..], b"", br#"{"command": 1}"#, br#"{"command": "a\u0000"}"#] {
        let reply = send(&stack, paths::JOBS, JSON, body.to_vec()).await;
        assert!((400..500).contains(&reply.status), "{reply:?}");
    }
    let job = stack.api.run(&json!({"command": "echo still here"})).await;
    assert_eq!((job.id, job.output.as_str()), (JobId(1), "still here\n"));
    stack.stop().await;
}
