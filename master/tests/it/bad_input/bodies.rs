//! Bodies that are not JSON, have a wrong content type, or are too large.

use axum::body::Body;
use serde_json::json;

use super::{CLAIM, JOBS, JSON, Row, SCHEDULES, UPDATE, ask, check, invalid, post, refused};
use crate::harness::{Master, Reply, encode, out, request};

const SPEC: &str = r#"{"command": "true"}"#;

const fn typed(kind: &'static [(&'static str, &'static str)]) -> Row {
    post(JOBS, SPEC, 415, "unsupported-media-type").with(kind)
}

pub(super) const ROWS: &[Row] = &[
    post("/api/queue/a%20b", "{}", 400, "bad-parameter").patch(),
    post("/api/queue/default", "{", 400, "unreadable").patch(),
    invalid("/api/queue/default", "[true]", "").patch(),
    invalid("/api/queue/default", r#"{"paused": "yes"}"#, "/paused").patch(),
    invalid("/api/queue/default", r#"{"paused": null, "limit": 1}"#, "/limit").patch(),
    invalid("/api/queue/default", r#"{"concurrency": 0}"#, "/concurrency").patch(),
    invalid("/api/queue/default", r#"{"concurrency": -1}"#, "/concurrency").patch(),
    invalid("/api/queue/default", r#"{"concurrency": 1000001}"#, "/concurrency").patch(),
    invalid("/api/queue/default", r#"{"concurrency": "all"}"#, "/concurrency").patch(),
    post("/api/schedule/a%20b", "{}", 400, "bad-parameter").patch(),
    post("/api/schedule/nightly", "{", 400, "unreadable").patch(),
    post("/api/schedule/nightly", "{}", 404, "not-found").patch(),
    invalid("/api/schedule/nightly", "[true]", "").patch(),
    invalid("/api/schedule/nightly", r#"{"paused": "yes"}"#, "/paused").patch(),
    invalid("/api/schedule/nightly", r#"{"cron": "@daily"}"#, "/cron").patch(),
    post(SCHEDULES, "", 400, "unreadable"),
    post(JOBS, "", 400, "unreadable"),
    post(JOBS, "{", 400, "unreadable"),
    post(JOBS, r#"{"command": "x"} trailing"#, 400, "unreadable"),
    post(JOBS, "{'command': 'x'}", 400, "unreadable"),
    post(JOBS, r#"{"command": NaN}"#, 400, "unreadable"),
    post(JOBS, r#"{"command": "\ud800"}"#, 400, "unreadable"),
    post(JOBS, "{\"command\": \"a\nb\"}", 400, "unreadable"),
    post(JOBS, "\u{feff}{\"command\": \"x\"}", 400, "unreadable"),
    post(JOBS, "// hi\n{\"command\": \"x\"}", 400, "unreadable"),
    post(JOBS, r#"{"command": "x", "command": "y"}"#, 400, "unreadable"),
    post(JOBS, r#"{"command": "x", "env": {"A": "1", "A": "2"}}"#, 400, "unreadable"),
    post(JOBS, r#"{"command": "x", "maxRetries": 1e400}"#, 400, "unreadable"),
    post(JOBS, "command=true", 400, "unreadable"),
    post(JOBS, "[1, 2", 400, "unreadable"),
    post(JOBS, "{} {}", 400, "unreadable"),
    post(JOBS, "\0", 400, "unreadable"),
    post(JOBS, r#"{"command": "x",}"#, 400, "unreadable"),
    post(JOBS, r#"{"command": Infinity}"#, 400, "unreadable"),
    post(JOBS, r#"{"command": "x", "maxRetries": 01}"#, 400, "unreadable"),
    post(JOBS, r#"{"command": "\x41"}"#, 400, "unreadable"),
    post(CLAIM, "", 400, "unreadable"),
    post(CLAIM, "w", 400, "unreadable"),
    post(UPDATE, "", 400, "unreadable"),
    post(UPDATE, r#"{"id": 1, "id": 2}"#, 400, "unreadable"),
    post("/api/worker/w/heartbeat", "", 400, "unreadable"),
    post("/api/worker/w", "{", 400, "unreadable").put(),
    post("/api/token", "", 400, "unreadable"),
    post("/api/webhook", "", 400, "unreadable"),
    invalid("/api/webhook", "[]", ""),
    invalid("/api/webhook", "{}", "/url"),
    invalid("/api/webhook", r#"{"url": null}"#, "/url"),
    invalid("/api/webhook", r#"{"url": "a.example"}"#, "/url"),
    invalid("/api/webhook", r#"{"url": "ftp://a.example"}"#, "/url"),
    invalid("/api/webhook", r#"{"url": "http://169.254.169.254/"}"#, "/url"),
    invalid("/api/webhook", r#"{"url": "http://u:p@a.example"}"#, "/url"),
    invalid("/api/webhook", r#"{"url": "http://a.example", "on": []}"#, "/on"),
    invalid("/api/webhook", r#"{"url": "http://a.example", "on": ["Running"]}"#, "/on/0"),
    invalid("/api/webhook", r#"{"url": "http://a.example", "on": ["Ended"]}"#, "/on/0"),
    invalid("/api/webhook", r#"{"url": "http://a.example", "queue": "a b"}"#, "/queue"),
    invalid(
        "/api/webhook",
        r#"{"url": "http://a.example", "labels": {"a b": "c"}}"#,
        "/labels/a b",
    ),
    invalid("/api/webhook", r#"{"url": "http://a.example", "secret": "hunter2"}"#, "/secret"),
    invalid("/api/webhook", r#"{"url": "http://a.example", "secret": 7}"#, "/secret"),
    invalid("/api/webhook", r#"{"url": "http://a.example", "uri": "x"}"#, "/uri"),
    invalid(JOBS, "null", ""),
    invalid(JOBS, "[]", ""),
    invalid(JOBS, r#"["ls"]"#, "/0"),
    invalid(JOBS, r#""x""#, ""),
    invalid(JOBS, "1", ""),
    invalid(JOBS, "true", ""),
    typed(&[]),
    typed(&[("content-type", "")]),
    typed(&[("content-type", "x")]),
    typed(&[("content-type", "text/plain")]),
    typed(&[("content-type", "text/json")]),
    typed(&[("content-type", "application/xml")]),
    typed(&[("content-type", "application/foo+json")]),
    typed(&[("content-type", "application/x-www-form-urlencoded")]),
    typed(&[("content-type", "multipart/form-data; boundary=x")]),
    typed(&[("content-type", "application/json; charset=utf-16")]),
    typed(&[("content-type", "application/json, text/plain")]),
    typed(&[("content-type", JSON), ("content-encoding", "gzip")]),
    typed(&[("content-type", JSON), ("content-encoding", "identity")]),
    ask("POST", "/api/job/1/attempts/1/log?offset=0&worker=w", 415, "unsupported-media-type"),
    ask("POST", JOBS, 415, "unsupported-media-type"),
    ask("POST", CLAIM, 415, "unsupported-media-type"),
];

async fn send(master: &Master, kind: &str, body: impl Into<Body>) -> Reply {
    let request = request("POST", JOBS).header("content-type", kind);
    master.send(request.body(body.into()).unwrap()).await
}

#[tokio::test]
async fn bodies() {
    check(ROWS).await;
}

#[tokio::test]
async fn bytes_that_are_no_text() {
    let master = Master::start().await;
    for body in [&b"\"\xff\""[..], b"{\"command\": \"tr\xffue\"}", b"\xff\xfe{\0}\0", b"\x1f\x8b"] {
        refused(&send(&master, JSON, body).await, 400, "unreadable", "not UTF-8");
    }
    let utf8 = send(&master, "Application/JSON; Charset=\"UTF-8\"", SPEC).await;
    assert_eq!(utf8.status, 201);
    let frames = request("POST", "/api/job/1/attempts/1/log?offset=0&worker=w")
        .header("content-type", JSON)
        .body(Body::from(encode(&[out("x")])));
    refused(&master.send(frames.unwrap()).await, 415, "unsupported-media-type", "frames");
}

#[tokio::test]
async fn bodies_that_are_too_large_or_too_deep() {
    let master = Master::start().await;
    let command = |bytes: usize| json!({"command": "x".repeat(bytes)}).to_string();
    assert_eq!(send(&master, JSON, command(65_536)).await.status, 201);
    for (bytes, status, kind) in
        [(65_537, 422, "invalid"), (1 << 20, 422, "invalid"), (10 << 20, 413, "too-large")]
    {
        refused(&send(&master, JSON, command(bytes)).await, status, kind, "long");
    }
    // The limit counts bytes, not characters.
    let emoji = json!({"command": "\u{1f600}".repeat(16_385)}).to_string();
    refused(&send(&master, JSON, emoji).await, 422, "invalid", "64 KiB and four");
    let endless = futures::stream::repeat_with(|| Ok::<_, std::io::Error>("x".repeat(65_536)));
    let endless = Body::from_stream(futures::StreamExt::take(endless, 10_000));
    refused(&send(&master, JSON, endless).await, 413, "too-large", "600 MB in pieces");
    let deep = format!("{{\"command\": \"x\", \"y\": {}", "[".repeat(100_000));
    refused(&send(&master, JSON, deep).await, 400, "unreadable", "deep");
    let digits = format!("{{\"command\": \"x\", \"maxRetries\": {}}}", "9".repeat(1 << 20));
    refused(&send(&master, JSON, digits).await, 400, "unreadable", "a million digits");
    let keys: Vec<String> = (0..100_000).map(|key| format!("\"{key}\": 1")).collect();
    let wide = format!("{{{}}}", keys.join(","));
    refused(&send(&master, JSON, wide).await, 422, "invalid", "100,000 keys");
}
