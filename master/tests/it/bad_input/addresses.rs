//! Addresses, methods and parameters.

use super::{JOBS, Row, ask, check};

pub(super) const ROWS: &[Row] = &[
    ask("GET", "/nope", 404, "not-found"),
    ask("GET", "/", 404, "not-found"),
    ask("GET", "/api/job/1/", 404, "not-found"),
    ask("GET", "//api/job", 404, "not-found"),
    ask("GET", "/API/JOB", 404, "not-found"),
    ask("GET", "/api/job/../job", 404, "not-found"),
    ask("PUT", "/api/job", 405, "method-not-allowed"),
    ask("DELETE", "/api/job", 405, "method-not-allowed"),
    ask("GET", "/api/job/claim", 405, "method-not-allowed"),
    ask("POST", "/api/job/pending", 405, "method-not-allowed"),
    ask("GET", "/api/job/1/cancel", 405, "method-not-allowed"),
    ask("POST", "/healthz", 405, "method-not-allowed"),
    ask("OPTIONS", "/api/job", 405, "method-not-allowed"),
    ask("GET", "/api/job/abc", 400, "bad-parameter"),
    ask("GET", "/api/job/1.0", 400, "bad-parameter"),
    ask("GET", "/api/job/0", 400, "bad-parameter"),
    ask("GET", "/api/job/-1", 400, "bad-parameter"),
    ask("GET", "/api/job/+1", 400, "bad-parameter"),
    ask("GET", "/api/job/01", 400, "bad-parameter"),
    ask("GET", "/api/job/0x1", 400, "bad-parameter"),
    ask("GET", "/api/job/%00", 400, "bad-parameter"),
    ask("GET", "/api/job/%ff", 400, "bad-parameter"),
    ask("GET", "/api/job/99999999999999999999", 400, "bad-parameter"),
    ask("GET", "/api/job/99", 404, "not-found"),
    ask("DELETE", "/api/job/99", 404, "not-found"),
    ask("DELETE", "/api/job/abc", 400, "bad-parameter"),
    ask("POST", "/api/job/99/cancel", 404, "not-found"),
    ask("POST", "/api/job/99/retry", 404, "not-found"),
    ask("POST", "/api/job/1/retry", 409, "illegal-step"),
    ask("GET", "/api/job/99/repro", 404, "not-found"),
    ask("GET", "/api/job/99/attempts", 404, "not-found"),
    ask("GET", "/api/job/99/log", 404, "not-found"),
    ask("GET", "/api/job/99/explain", 404, "not-found"),
    ask("GET", "/api/job/x/explain", 400, "bad-parameter"),
    ask("GET", "/api/job/1/explain?why=true", 400, "bad-parameter"),
    ask("POST", "/api/job/1/explain", 405, "method-not-allowed"),
    ask("POST", "/api/worker/nobody/drain", 404, "not-found"),
    ask("DELETE", "/api/worker/nobody/drain", 404, "not-found"),
    ask("POST", "/api/worker/a%20b/drain", 400, "bad-parameter"),
    ask("POST", "/api/worker/w/drain?undo=true", 400, "bad-parameter"),
    ask("GET", "/api/worker/w/drain", 405, "method-not-allowed"),
    ask("GET", "/api/queue?name=x", 400, "bad-parameter"),
    ask("POST", "/api/queue", 405, "method-not-allowed"),
    ask("DELETE", "/api/queue/default", 405, "method-not-allowed"),
    ask("PATCH", "/api/queue/default", 415, "unsupported-media-type"),
    ask("GET", "/api/schedule/nightly", 404, "not-found"),
    ask("DELETE", "/api/schedule/nightly", 404, "not-found"),
    ask("GET", "/api/schedule/a%20b", 400, "bad-parameter"),
    ask("DELETE", "/api/schedule/%00", 400, "bad-parameter"),
    ask("GET", "/api/schedule?name=x", 400, "bad-parameter"),
    ask("DELETE", "/api/schedule/nightly?jobs=true", 400, "bad-parameter"),
    ask("PUT", "/api/schedule/nightly", 405, "method-not-allowed"),
    ask("POST", "/api/schedule/nightly", 405, "method-not-allowed"),
    ask("POST", "/api/schedule/nightly/pause", 404, "not-found"),
    ask("PATCH", "/api/schedule/nightly", 415, "unsupported-media-type"),
    ask("POST", "/api/schedule", 415, "unsupported-media-type"),
    ask("GET", "/api/job/1?wait=soon", 400, "bad-parameter"),
    ask("GET", "/api/job/1?wait=-1s", 400, "bad-parameter"),
    ask("GET", "/api/job/1?wiat=1s", 400, "bad-parameter"),
    ask("GET", "/api/job/1?wait=1s&wait=2s", 400, "bad-parameter"),
    ask("GET", "/api/job?limit=0", 400, "bad-parameter"),
    ask("GET", "/api/job?limit=-1", 400, "bad-parameter"),
    ask("GET", "/api/job?limit=1001", 400, "bad-parameter"),
    ask("GET", "/api/job?limit=4294967296", 400, "bad-parameter"),
    ask("GET", "/api/job?limit=", 400, "bad-parameter"),
    ask("GET", "/api/job?limit=1&limit=2", 400, "bad-parameter"),
    ask("GET", "/api/job?cursor=garbage", 400, "bad-parameter"),
    ask("GET", "/api/job?cursor=%ff", 400, "bad-parameter"),
    ask("GET", "/api/job?status=nope", 400, "bad-parameter"),
    ask("GET", "/api/job?status=5", 400, "bad-parameter"),
    ask("GET", "/api/job?label=nothing", 400, "bad-parameter"),
    ask("GET", "/api/job?worker=a%20b", 400, "bad-parameter"),
    ask("GET", "/api/job?order=;drop", 400, "bad-parameter"),
    ask("GET", "/api/job?unknown=1", 400, "bad-parameter"),
    ask("GET", "/api/job/1/log?attempt=0", 400, "bad-parameter"),
    ask("GET", "/api/job/1/log?attempt=1", 404, "not-found"),
    ask("GET", "/api/job/1/log?attempt=x", 400, "bad-parameter"),
    ask("GET", "/api/job/1/log?stream=stdin", 400, "bad-parameter"),
    ask("GET", "/api/job/1/log?tail=-1", 400, "bad-parameter"),
    ask("GET", "/api/job/1/log?after=1", 400, "bad-parameter"),
    ask("GET", "/api/job/1/log?follow=maybe", 400, "bad-parameter"),
    ask("GET", "/api/job/1/attempts/0/log", 400, "bad-parameter"),
    ask("GET", "/api/job/1/attempts/1/log", 404, "not-found"),
    ask("GET", "/healthz?verbose", 400, "bad-parameter"),
    ask("PUT", "/api/worker/a%20b", 400, "bad-parameter"),
    ask("POST", "/api/worker/%00/heartbeat", 400, "bad-parameter"),
    // Beside the routes.
    ask("GET", "/api", 404, "not-found"),
    ask("GET", "/api/jobs", 404, "not-found"),
    ask("GET", "/api/./job", 404, "not-found"),
    ask("GET", "/api/job/1/nowhere", 404, "not-found"),
    ask("GET", "/api/job/1/log/2", 404, "not-found"),
    ask("GET", "/api/job%2f1", 404, "not-found"),
    ask("GET", "/../etc/passwd", 404, "not-found"),
    ask("GET", "/metrics", 404, "not-found"),
    ask("GET", "/debug/pprof", 404, "not-found"),
    ask("GET", "/nope%1b%5b2J", 404, "not-found"),
    ask("PATCH", "/api/job/1", 405, "method-not-allowed"),
    ask("POST", "/api/job/1", 405, "method-not-allowed"),
    ask("DELETE", "/api/job/1/log", 405, "method-not-allowed"),
    ask("TRACE", "/api/job", 405, "method-not-allowed"),
    ask("PROPFIND", "/api/job", 405, "method-not-allowed"),
    ask("GET", "/api/job/update", 405, "method-not-allowed"),
    ask("DELETE", "/api/worker/w", 405, "method-not-allowed"),
    // Ids, in the one way of writing them.
    ask("GET", "/api/job/1e3", 400, "bad-parameter"),
    ask("GET", "/api/job/1%20", 400, "bad-parameter"),
    ask("GET", "/api/job/%31%0a", 400, "bad-parameter"),
    ask("GET", "/api/job/9223372036854775808", 400, "bad-parameter"),
    ask("GET", "/api/job/9223372036854775807", 404, "not-found"),
    ask("GET", "/api/job/%f0%9f%92%a9", 400, "bad-parameter"),
    ask("GET", "/api/job/..%2f..%2fetc", 400, "bad-parameter"),
    ask("GET", "/api/job/%E2%80%AE1", 400, "bad-parameter"),
    ask("POST", "/api/job/-1/cancel", 400, "bad-parameter"),
    ask("GET", "/api/job/1/attempts/4294967296/log", 400, "bad-parameter"),
    ask("GET", "/api/job/1/attempts/x/log", 400, "bad-parameter"),
    ask("GET", "/api/worker/..%2fx/orders", 400, "bad-parameter"),
    ask("GET", "/api/worker/-v/orders", 400, "bad-parameter"),
    ask("DELETE", "/api/token/0", 400, "bad-parameter"),
    ask("DELETE", "/api/token/99", 404, "not-found"),
    // Parameters.
    ask("GET", "/api/job?limit=1e3", 400, "bad-parameter"),
    ask("GET", "/api/job?limit=%00", 400, "bad-parameter"),
    ask("GET", "/api/job?cursor=-1", 400, "bad-parameter"),
    ask("GET", "/api/job?cursor=99999999999999999999", 400, "bad-parameter"),
    ask("GET", "/api/job?status=Pending,nope", 400, "bad-parameter"),
    ask("GET", "/api/job?LIMIT=1", 400, "bad-parameter"),
    ask("GET", "/api/job?%ff=1", 400, "bad-parameter"),
    ask("GET", "/api/job?token=orchestra_x", 400, "bad-parameter"),
    ask("GET", "/api/job?q=a&q=b", 400, "bad-parameter"),
    ask("GET", "/api/job/pending?limit=1", 400, "bad-parameter"),
    ask("GET", "/api/job/1?wait=99999999999999999999h", 400, "bad-parameter"),
    ask("GET", "/api/job/1/log?tail=99999999999999999999", 400, "bad-parameter"),
    ask("GET", "/api/job/1/log?after=-1--1", 400, "bad-parameter"),
    ask("GET", "/api/job/1/log?stream=stdout,nope", 400, "bad-parameter"),
    ask("GET", "/api/worker/w/orders?after=-1", 400, "bad-parameter"),
    ask("GET", "/api/worker/w/orders?wait=for-ever", 400, "bad-parameter"),
];

#[tokio::test]
async fn addresses() {
    check(ROWS).await;
}

/// Too long for any route, and short enough to be read as a request.
#[tokio::test]
async fn addresses_that_are_too_long() {
    let master = crate::harness::Master::start().await;
    let long = "x".repeat(8 << 10);
    for path in [format!("/{long}"), format!("{JOBS}?q={long}"), format!("{JOBS}/{long}/log")] {
        let reply = master.get(&path).await;
        super::refused(&reply, 414, "uri-too-long", &path[..20]);
    }
    let fits = master.get(&format!("{JOBS}?q={}", "x".repeat(256))).await;
    assert_eq!(fits.status, 200);
}

#[tokio::test]
async fn unknown_parameters_are_told_with_the_known_ones() {
    let master = crate::harness::Master::start().await;
    let problem = master.get("/api/job?state=1").await.json();
    assert_eq!(problem["hint"], "it knows status, queue, label, worker, q, order, limit, cursor");
}
