//! Whatever is sent, the answer is a problem that says what is wrong with it.

use axum::body::Body;
use serde_json::{Value, json};

use crate::harness::{Master, Reply, encode, out, request};

const JSON: &str = "application/json";

/// Body, then status, the problem's type, and the pointer of its first error.
type Row = (&'static str, u16, &'static str, &'static str);

const SPECS: &[Row] = &[
    ("", 400, "unreadable", ""),
    ("{", 400, "unreadable", ""),
    ("{\"command\": \"x\"} trailing", 400, "unreadable", ""),
    ("{'command': 'x'}", 400, "unreadable", ""),
    ("{\"command\": NaN}", 400, "unreadable", ""),
    ("{\"command\": \"\\ud800\"}", 400, "unreadable", ""),
    ("{\"command\": \"a\nb\"}", 400, "unreadable", ""),
    ("\u{feff}{\"command\": \"x\"}", 400, "unreadable", ""),
    ("// hi\n{\"command\": \"x\"}", 400, "unreadable", ""),
    ("{\"command\": \"x\", \"command\": \"y\"}", 400, "unreadable", ""),
    ("{\"command\": \"x\", \"env\": {\"A\": \"1\", \"A\": \"2\"}}", 400, "unreadable", ""),
    ("{\"command\": \"x\", \"maxRetries\": 1e400}", 400, "unreadable", ""),
    ("null", 422, "invalid", ""),
    ("[]", 422, "invalid", ""),
    ("[\"ls\"]", 422, "invalid", ""),
    ("\"x\"", 422, "invalid", ""),
    ("1", 422, "invalid", ""),
    ("{}", 422, "invalid", "/command"),
    ("{\"command\": null}", 422, "invalid", "/command"),
    ("{\"command\": 1}", 422, "invalid", "/command"),
    ("{\"command\": [\"ls\"]}", 422, "invalid", "/command"),
    ("{\"command\": \"\"}", 422, "invalid", "/command"),
    ("{\"command\": \" \\n\\t\"}", 422, "invalid", "/command"),
    ("{\"command\": \"a\\u0000b\"}", 422, "invalid", "/command"),
    ("{\"command\": \"x\", \"privileged\": true}", 422, "invalid", "/privileged"),
    ("{\"command\": \"x\", \"Image\": \"gcc\"}", 422, "invalid", "/Image"),
    ("{\"command\": \"x\", \"status\": \"Completed\"}", 422, "invalid", "/status"),
    ("{\"command\": \"x\", \"id\": 7}", 422, "invalid", "/id"),
    ("{\"command\": \"x\", \"maxRetries\": -1}", 422, "invalid", "/maxRetries"),
    ("{\"command\": \"x\", \"maxRetries\": 1.5}", 422, "invalid", "/maxRetries"),
    ("{\"command\": \"x\", \"maxRetries\": \"3\"}", 422, "invalid", "/maxRetries"),
    ("{\"command\": \"x\", \"maxRetries\": null}", 422, "invalid", "/maxRetries"),
    ("{\"command\": \"x\", \"maxRetries\": 101}", 422, "invalid", "/maxRetries"),
    ("{\"command\": \"x\", \"maxRetries\": 4294967296}", 422, "invalid", "/maxRetries"),
    ("{\"command\": \"x\", \"maxRetries\": 99999999999999999999}", 422, "invalid", "/maxRetries"),
    ("{\"command\": \"x\", \"timeout\": 0}", 422, "invalid", "/timeout"),
    ("{\"command\": \"x\", \"timeout\": \"soon\"}", 422, "invalid", "/timeout"),
    ("{\"command\": \"x\", \"timeout\": \"25h\"}", 422, "invalid", "/timeout"),
    ("{\"command\": \"x\", \"timeout\": -5}", 422, "invalid", "/timeout"),
    ("{\"command\": \"x\", \"image\": \"../etc\"}", 422, "invalid", "/image"),
    ("{\"command\": \"x\", \"image\": \"-v\"}", 422, "invalid", "/image"),
    ("{\"command\": \"x\", \"env\": {\"A=B\": \"x\"}}", 422, "invalid", "/env/A=B"),
    ("{\"command\": \"x\", \"env\": {\"A\": 1}}", 422, "invalid", "/env/A"),
    ("{\"command\": \"x\", \"env\": {\"A\": \"\\u0000\"}}", 422, "invalid", "/env/A"),
    ("{\"command\": \"x\", \"resources\": {\"cpus\": 0}}", 422, "invalid", "/resources/cpus"),
    (
        "{\"command\": \"x\", \"resources\": {\"memory\": \"1\"}}",
        422,
        "invalid",
        "/resources/memory",
    ),
    ("{\"command\": \"x\", \"resources\": {\"memory\": -1}}", 422, "invalid", "/resources/memory"),
    ("{\"command\": \"x\", \"network\": \"host\"}", 422, "invalid", "/network"),
    ("{\"command\": \"x\", \"priority\": 2147483648}", 422, "invalid", "/priority"),
    ("{\"command\": \"x\", \"queue\": \"\"}", 422, "invalid", "/queue"),
    ("{\"command\": \"x\", \"labels\": {\"a b\": \"c\"}}", 422, "invalid", "/labels/a b"),
];

const CLAIMS: &[Row] = &[
    ("\"\"", 422, "invalid", ""),
    ("\"a b\"", 422, "invalid", ""),
    ("7", 422, "invalid", ""),
    ("{}", 422, "invalid", "/worker"),
    ("{\"worker\": \"w\", \"slots\": 0}", 422, "invalid", "/slots"),
    ("{\"worker\": \"w\", \"slots\": -1}", 422, "invalid", "/slots"),
    ("{\"worker\": \"w\", \"slots\": 1000000}", 422, "invalid", "/slots"),
    ("{\"worker\": \"w\", \"queues\": []}", 422, "invalid", "/queues"),
    ("{\"worker\": \"w\", \"wait\": \"x\"}", 422, "invalid", "/wait"),
    ("{\"worker\": \"w\", \"slot\": 1}", 422, "invalid", "/slot"),
];

const UPDATES: &[Row] = &[
    ("{\"id\": 1, \"status\": \"Running\"}", 422, "invalid", "/assignedWorker"),
    ("{\"id\": \"1\", \"status\": 2, \"assignedWorker\": \"w\"}", 422, "invalid", "/id"),
    ("{\"id\": 1, \"status\": 7, \"assignedWorker\": \"w\"}", 422, "invalid", "/status"),
    ("{\"id\": 1, \"status\": \"Done\", \"assignedWorker\": \"w\"}", 422, "invalid", "/status"),
    ("{\"id\": 1, \"status\": 1, \"assignedWorker\": \"w\"}", 409, "illegal-step", ""),
    ("{\"id\": 1, \"status\": \"Cancelled\", \"assignedWorker\": \"w\"}", 409, "illegal-step", ""),
    ("{\"id\": 1, \"status\": 2, \"assignedWorker\": \"w\"}", 409, "lease-lost", ""),
    ("{\"id\": 1, \"status\": 3, \"assignedWorker\": \"w\"}", 409, "lease-lost", ""),
    ("{\"id\": 99, \"status\": 2, \"assignedWorker\": \"w\"}", 404, "not-found", ""),
    ("{\"id\": -1, \"status\": 3, \"assignedWorker\": \"w\"}", 404, "not-found", ""),
    (
        "{\"id\": 1, \"status\": 3, \"assignedWorker\": \"w\", \"exitCode\": \"0\"}",
        422,
        "invalid",
        "/exitCode",
    ),
    (
        "{\"id\": 1, \"status\": 3, \"assignedWorker\": \"w\", \"exitCode\": 1099511627776}",
        422,
        "invalid",
        "/exitCode",
    ),
];

/// Method, address, status, type.
const ADDRESSES: &[(&str, &str, u16, &str)] = &[
    ("GET", "/nope", 404, "not-found"),
    ("GET", "/", 404, "not-found"),
    ("GET", "/api/job/1/", 404, "not-found"),
    ("GET", "//api/job", 404, "not-found"),
    ("GET", "/API/JOB", 404, "not-found"),
    ("GET", "/api/job/../job", 404, "not-found"),
    ("PUT", "/api/job", 405, "method-not-allowed"),
    ("DELETE", "/api/job", 405, "method-not-allowed"),
    ("GET", "/api/job/claim", 405, "method-not-allowed"),
    ("POST", "/api/job/pending", 405, "method-not-allowed"),
    ("GET", "/api/job/1/cancel", 405, "method-not-allowed"),
    ("POST", "/healthz", 405, "method-not-allowed"),
    ("OPTIONS", "/api/job", 405, "method-not-allowed"),
    ("GET", "/api/job/abc", 400, "bad-parameter"),
    ("GET", "/api/job/1.0", 400, "bad-parameter"),
    ("GET", "/api/job/0", 400, "bad-parameter"),
    ("GET", "/api/job/-1", 400, "bad-parameter"),
    ("GET", "/api/job/+1", 400, "bad-parameter"),
    ("GET", "/api/job/01", 400, "bad-parameter"),
    ("GET", "/api/job/0x1", 400, "bad-parameter"),
    ("GET", "/api/job/%00", 400, "bad-parameter"),
    ("GET", "/api/job/%ff", 400, "bad-parameter"),
    ("GET", "/api/job/99999999999999999999", 400, "bad-parameter"),
    ("GET", "/api/job/99", 404, "not-found"),
    ("DELETE", "/api/job/99", 404, "not-found"),
    ("DELETE", "/api/job/abc", 400, "bad-parameter"),
    ("POST", "/api/job/99/cancel", 404, "not-found"),
    ("POST", "/api/job/99/retry", 404, "not-found"),
    ("POST", "/api/job/1/retry", 409, "illegal-step"),
    ("GET", "/api/job/99/attempts", 404, "not-found"),
    ("GET", "/api/job/99/log", 404, "not-found"),
    ("GET", "/api/job/1?wait=soon", 400, "bad-parameter"),
    ("GET", "/api/job/1?wait=-1s", 400, "bad-parameter"),
    ("GET", "/api/job/1?wiat=1s", 400, "bad-parameter"),
    ("GET", "/api/job/1?wait=1s&wait=2s", 400, "bad-parameter"),
    ("GET", "/api/job?limit=0", 400, "bad-parameter"),
    ("GET", "/api/job?limit=-1", 400, "bad-parameter"),
    ("GET", "/api/job?limit=1001", 400, "bad-parameter"),
    ("GET", "/api/job?limit=4294967296", 400, "bad-parameter"),
    ("GET", "/api/job?limit=", 400, "bad-parameter"),
    ("GET", "/api/job?limit=1&limit=2", 400, "bad-parameter"),
    ("GET", "/api/job?cursor=garbage", 400, "bad-parameter"),
    ("GET", "/api/job?cursor=%ff", 400, "bad-parameter"),
    ("GET", "/api/job?status=nope", 400, "bad-parameter"),
    ("GET", "/api/job?status=5", 400, "bad-parameter"),
    ("GET", "/api/job?label=nothing", 400, "bad-parameter"),
    ("GET", "/api/job?worker=a%20b", 400, "bad-parameter"),
    ("GET", "/api/job?order=;drop", 400, "bad-parameter"),
    ("GET", "/api/job?unknown=1", 400, "bad-parameter"),
    ("GET", "/api/job/1/log?attempt=0", 400, "bad-parameter"),
    ("GET", "/api/job/1/log?attempt=1", 404, "not-found"),
    ("GET", "/api/job/1/log?attempt=x", 400, "bad-parameter"),
    ("GET", "/api/job/1/log?stream=stdin", 400, "bad-parameter"),
    ("GET", "/api/job/1/log?tail=-1", 400, "bad-parameter"),
    ("GET", "/api/job/1/log?after=1", 400, "bad-parameter"),
    ("GET", "/api/job/1/log?follow=maybe", 400, "bad-parameter"),
    ("GET", "/api/job/1/attempts/0/log", 400, "bad-parameter"),
    ("GET", "/api/job/1/attempts/1/log", 404, "not-found"),
    ("GET", "/healthz?verbose", 400, "bad-parameter"),
    ("PUT", "/api/worker/a%20b", 400, "bad-parameter"),
    ("POST", "/api/worker/%00/heartbeat", 400, "bad-parameter"),
];

/// With this type and this content type; what is not refused is no problem.
fn expect(reply: &Reply, status: u16, kind: &str, what: &str) {
    assert_eq!(
        (reply.status.as_u16(), reply.problem().as_str()),
        (status, kind),
        "{what}: {reply:?}"
    );
    assert!(!reply.body.contains(&0), "{what}: a raw NUL byte");
}

async fn send(master: &Master, path: &str, kind: &str, body: impl Into<Body>) -> Reply {
    let request = request("POST", path).header("content-type", kind);
    master.send(request.body(body.into()).unwrap()).await
}

async fn check(path: &str, rows: &[Row]) {
    let master = Master::start().await;
    master.submit(json!({"command": "true"})).await;
    for (body, status, kind, pointer) in rows {
        let reply = send(&master, path, JSON, *body).await;
        expect(&reply, *status, kind, body);
        if *status == 422 {
            assert_eq!(reply.json()["errors"][0]["pointer"], *pointer, "{body}: {reply:?}");
        }
    }
    let jobs: Value = master.get("/api/job").await.json();
    assert_eq!(jobs.as_array().unwrap().len(), 1, "nothing was stored");
}

#[tokio::test]
async fn specs() {
    check("/api/job", SPECS).await;
}

#[tokio::test]
async fn claims() {
    check("/api/job/claim", CLAIMS).await;
}

#[tokio::test]
async fn updates() {
    check("/api/job/update", UPDATES).await;
}

#[tokio::test]
async fn addresses() {
    let master = Master::start().await;
    master.submit(json!({"command": "true"})).await;
    for (method, path, status, kind) in ADDRESSES {
        let reply = master.bare(method, path).await;
        expect(&reply, *status, kind, &format!("{method} {path}"));
        if *status == 405 {
            assert!(!reply.header("allow").is_empty(), "{method} {path}: {reply:?}");
        }
    }
}

#[tokio::test]
async fn bodies_that_are_not_json() {
    let master = Master::start().await;
    let spec = r#"{"command": "true"}"#;
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/foo+json", "x"] {
        expect(&send(&master, "/api/job", kind, spec).await, 415, "unsupported-media-type", kind);
    }
    let utf16 = "application/json; charset=utf-16";
    expect(&send(&master, "/api/job", utf16, spec).await, 415, "unsupported-media-type", utf16);
    let untyped = request("POST", "/api/job").body(Body::from(spec)).unwrap();
    expect(&master.send(untyped).await, 415, "unsupported-media-type", "no type");
    let gzip = request("POST", "/api/job").header("content-type", JSON);
    let gzip = gzip.header("content-encoding", "gzip").body(Body::from(spec)).unwrap();
    expect(&master.send(gzip).await, 415, "unsupported-media-type", "gzip");
    expect(
        &send(&master, "/api/job", JSON, vec![b'"', 0xFF, b'"']).await,
        400,
        "unreadable",
        "not UTF-8",
    );
    let utf8 = send(&master, "/api/job", "Application/JSON; Charset=\"UTF-8\"", spec).await;
    assert_eq!(utf8.status, 201);
    let path = "/api/job/1/attempts/1/log?offset=0&worker=w";
    expect(
        &send(&master, path, JSON, encode(&[out("x")])).await,
        415,
        "unsupported-media-type",
        "frames",
    );
}

#[tokio::test]
async fn bodies_that_are_too_large_or_too_deep() {
    let master = Master::start().await;
    let command = |bytes: usize| json!({"command": "x".repeat(bytes)}).to_string();
    assert_eq!(send(&master, "/api/job", JSON, command(65_536)).await.status, 201);
    expect(
        &send(&master, "/api/job", JSON, command(65_537)).await,
        422,
        "invalid",
        "64 KiB and one",
    );
    expect(&send(&master, "/api/job", JSON, command(1 << 20)).await, 422, "invalid", "1 MiB");
    expect(&send(&master, "/api/job", JSON, command(10 << 20)).await, 413, "too-large", "10 MiB");
    let endless = futures::stream::repeat_with(|| Ok::<_, std::io::Error>("x".repeat(65_536)));
    let endless = Body::from_stream(futures::StreamExt::take(endless, 10_000));
    expect(&send(&master, "/api/job", JSON, endless).await, 413, "too-large", "600 MB in pieces");
    let deep = format!("{{\"command\": \"x\", \"y\": {}", "[".repeat(100_000));
    expect(&send(&master, "/api/job", JSON, deep).await, 400, "unreadable", "deep");
    let keys: Vec<String> = (0..100_000).map(|key| format!("\"{key}\": 1")).collect();
    let wide = format!("{{{}}}", keys.join(","));
    expect(&send(&master, "/api/job", JSON, wide).await, 422, "invalid", "100,000 keys");
}

#[tokio::test]
async fn headers_that_do_not_parse() {
    let master = Master::start().await;
    master.submit(json!({"command": "true"})).await;
    for last in ["abc", "-1", "9e99", "1-", ""] {
        let request = request("GET", "/api/job/1/log")
            .header("accept", "text/event-stream")
            .header("last-event-id", last);
        let reply = master.send(request.body(Body::empty()).unwrap()).await;
        expect(&reply, 400, "bad-parameter", last);
    }
    let unknown = request("GET", "/api/job/99/log").header("accept", "text/event-stream");
    let reply = master.send(unknown.body(Body::empty()).unwrap()).await;
    expect(&reply, 404, "not-found", "events of no job");
}

#[tokio::test]
async fn unknown_parameters_are_told_with_the_known_ones() {
    let master = Master::start().await;
    let problem = master.get("/api/job?state=1").await.json();
    assert_eq!(problem["hint"], "it knows status, queue, label, worker, q, order, limit, cursor");
}
