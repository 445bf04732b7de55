//! Bad input gets a clear answer, and nothing is lost by it.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use orchestra_contracts::{JobId, JobStatus, ProblemKind, limits, paths};
use orchestra_tests::{Plan, Reply, Stack};
use reqwest::{Method, header::CONTENT_TYPE};
use serde_json::{Value, json};

const JSON: &str = "application/json";

async fn send(stack: &Stack, path: &str, kind: &str, body: impl Into<reqwest::Body>) -> Reply {
    let request = stack.api.request(Method::POST, path).header(CONTENT_TYPE, kind);
    stack.api.send(request.body(body)).await
}

/// A job that every test leaves waiting, to see that it stays.
async fn master_with_a_job() -> Stack {
    let stack = Plan::default().workers(0).start().await.expect("a master alone needs no engine");
    stack.api.command("echo still here").await;
    stack
}

/// The one job is there, unharmed, and no other was made.
async fn nothing_changed(stack: Stack) {
    let jobs = stack.api.jobs("").await;
    assert_eq!(jobs.len(), 1, "a refused job was stored: {jobs:?}");
    assert_eq!((jobs[0].id, jobs[0].status), (JobId(1), JobStatus::Pending));
    stack.stop().await;
}

#[tokio::test]
async fn a_spec_that_is_refused_says_which_field() {
    let stack = master_with_a_job().await;
    let long = "x".repeat(limits::COMMAND_BYTES + 1);
    let with = |field: &str, value: Value| {
        let mut spec = json!({"command": "true"});
        spec[field] = value;
        spec
    };
    let table = [
        (json!({}), "/command"),
        (json!([]), ""),
        (json!("true"), ""),
        (json!(17), ""),
        (json!(null), ""),
        (with("command", json!("")), "/command"),
        (with("command", json!(" \n\t")), "/command"),
        (with("command", json!("echo a\0b")), "/command"),
        (with("command", json!(long)), "/command"),
        (with("command", json!(42)), "/command"),
        (with("command", json!(null)), "/command"),
        (with("command", json!(["ls"])), "/command"),
        (with("command", json!({"run": "ls"})), "/command"),
        (with("command", json!(true)), "/command"),
        (with("maxRetries", json!(-1)), "/maxRetries"),
        (with("maxRetries", json!(101)), "/maxRetries"),
        (with("maxRetries", json!(1e300)), "/maxRetries"),
        (with("maxRetries", json!(u64::MAX)), "/maxRetries"),
        (with("maxRetries", json!(1.5)), "/maxRetries"),
        (with("maxRetries", json!("3")), "/maxRetries"),
        (with("timeout", json!("soon")), "/timeout"),
        (with("timeout", json!("0s")), "/timeout"),
        (with("timeout", json!(-5)), "/timeout"),
        (with("image", json!("../../etc")), "/image"),
        (with("env", json!({"A=B": "x"})), "/env/A=B"),
        (with("env", json!({"A": 1})), "/env/A"),
        (with("resources", json!({"memory": "1k"})), "/resources/memory"),
        (with("resources", json!({"memory": "lots"})), "/resources/memory"),
        (with("resources", json!({"disk": "1g"})), "/resources/disk"),
        (with("network", json!("host")), "/network"),
        (with("privileged", json!(true)), "/privileged"),
        (with("id", json!(7)), "/id"),
        (with("status", json!("Completed")), "/status"),
    ];
    for (spec, pointer) in table {
        let reply = stack.api.post(paths::JOBS, &spec).await;
        let problem = reply.problem(422, ProblemKind::Invalid);
        let pointers: Vec<_> = problem.errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, [pointer], "{spec}: {problem:?}");
    }
    nothing_changed(stack).await;
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
        let reply = send(&stack, path, JSON, vec![b' '; 10_000_000]).await;
        reply.problem(413, ProblemKind::TooLarge);
    }
    nothing_changed(stack).await;
}

#[tokio::test]
async fn an_address_that_leads_nowhere_is_refused() {
    let stack = master_with_a_job().await;
    let ids = ["abc", "0", "-1", "1.5", "1e3", "99999999999999999999", "%00", "%ff", "1%20", "+1"];
    for id in ids {
        for path in [format!("/api/job/{id}"), format!("/api/job/{id}/log")] {
            stack.api.get(&path).await.problem(400, ProblemKind::BadParameter);
        }
    }
    for path in
        ["/api/job/99", "/api/job/99/log", "/api/job/99/attempts", "/api/job/1/log?attempt=9"]
    {
        stack.api.get(path).await.problem(404, ProblemKind::NotFound);
    }
    for path in
        ["/nowhere", "/api", "/api/jobs", "/api/job/1/nowhere", "/api/job/1/log/2", "//", "/../x"]
    {
        stack.api.get(path).await.problem(404, ProblemKind::NotFound);
    }
    for query in [
        "status=Done",
        "limit=0",
        "limit=x",
        "limit=-1",
        "cursor=x",
        "order=up",
        "label=x",
        "unknown=1",
    ] {
        let reply = stack.api.get(&format!("/api/job?{query}")).await;
        reply.problem(400, ProblemKind::BadParameter);
    }
    for path in ["/api/job/1?wait=soon", "/api/job/1/log?tail=x", "/api/job/1/log?stream=stdlog"] {
        stack.api.get(path).await.problem(400, ProblemKind::BadParameter);
    }
    nothing_changed(stack).await;
}

#[tokio::test]
async fn a_method_that_does_not_exist_is_refused() {
    let stack = master_with_a_job().await;
    for (method, path) in [
        (Method::PUT, "/api/job"),
        (Method::DELETE, "/api/job"),
        (Method::PATCH, "/api/job/1"),
        (Method::POST, "/api/job/1"),
        (Method::POST, "/api/job/pending"),
        (Method::GET, "/api/job/update"),
        (Method::GET, "/api/job/claim"),
        (Method::GET, "/api/job/1/cancel"),
        (Method::DELETE, "/api/job/1/log"),
        (Method::POST, "/healthz"),
    ] {
        let reply = stack.api.send(stack.api.request(method.clone(), path)).await;
        reply.problem(405, ProblemKind::MethodNotAllowed);
        assert!(reply.header("allow").is_some_and(|allow| !allow.contains(method.as_str())));
    }
    nothing_changed(stack).await;
}

#[tokio::test]
async fn a_worker_that_talks_nonsense_is_refused() {
    let stack = master_with_a_job().await;
    for body in [
        json!(""),
        json!("two words"),
        json!("../x"),
        json!(17),
        json!(null),
        json!([]),
        json!({}),
        json!({"worker": "me", "slots": -1}),
        json!({"worker": "me", "wait": "long"}),
        json!({"worker": "me", "unknown": 1}),
        json!("x".repeat(65)),
    ] {
        let reply = stack.api.post(paths::CLAIM, &body).await;
        assert_eq!(reply.problem(422, ProblemKind::Invalid).status, 422, "{body}");
    }
    for body in [
        json!({}),
        json!([]),
        json!("me"),
        json!({"id": "1", "status": "Running", "assignedWorker": "me"}),
        json!({"id": 1, "status": "Done", "assignedWorker": "me"}),
        json!({"id": 1, "status": 9, "assignedWorker": "me"}),
        json!({"id": 1, "status": "Running"}),
        json!({"id": 1, "status": "Running", "assignedWorker": ""}),
        json!({"id": 1, "status": "Completed", "assignedWorker": "me", "exitCode": 1e99}),
    ] {
        let reply = stack.api.post(paths::UPDATE, &body).await;
        assert_eq!(reply.problem(422, ProblemKind::Invalid).status, 422, "{body}");
    }
    for body in [
        json!({"id": -1, "status": "Running", "assignedWorker": "me"}),
        json!({"id": i64::MAX, "status": "Running", "assignedWorker": "me"}),
    ] {
        let reply = stack.api.post(paths::UPDATE, &body).await;
        assert!(matches!(reply.status, 404 | 422), "{body}: {reply:?}");
    }
    nothing_changed(stack).await;
}

/// Bytes that are not HTTP; the answer is a refusal or a closed connection.
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
        // The master may close before it has read all of it.
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
