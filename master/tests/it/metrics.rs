//! `GET /metrics`: each value changes with events by the right amount, and Prometheus can parse the
//! text.

#![expect(clippy::float_cmp, reason = "small whole numbers, which are written and read exactly")]

mod published;

use std::collections::BTreeMap;

use axum::body::Body;
use orchestra_contracts::{Role, Span, worker::Claimed};
use serde_json::{Value, json};

use crate::{
    access::issue,
    faulty::{Fault, Plan},
    harness::{LEASE, Master, Open, encode, out, request},
};

/// Name and labels of each sample, as written, with its value.
pub(crate) type Samples = BTreeMap<String, f64>;

pub(crate) async fn samples(master: &Master) -> Samples {
    let reply = master.get("/metrics").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    read(&reply.text())
}

fn read(text: &str) -> Samples {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}")))
    };
    lines.map(sample).collect()
}

/// Asserts by how much each of these has changed. A missing sample counts as 0.
#[track_caller]
fn changed(before: &Samples, after: &Samples, expected: &[(&str, f64)]) {
    let of = |samples: &Samples, name: &str| samples.get(name).copied().unwrap_or_default();
    for (name, by) in expected {
        let moved = of(after, name) - of(before, name);
        assert!((moved - by).abs() < 1e-9, "{name} moved by {moved}, not {by}: {after:#?}");
    }
}

async fn end(master: &Master, claimed: &Claimed, more: Value) {
    let reply = master.report(claimed, "w", more).await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

async fn register(master: &Master, worker: &str) {
    let registration = json!({"slots": 3, "queues": ["default", "night"], "version": "1"});
    let reply = master.send_json("PUT", &format!("/api/worker/{worker}"), &registration).await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[tokio::test]
async fn each_value_moves_by_what_happened() {
    let master = Master::start().await;
    register(&master, "w").await;
    let before = samples(&master).await;
    for _ in 0..3 {
        master.submit(json!({"command": "true"})).await;
    }
    master.submit(json!({"command": "true", "queue": "night"})).await;
    master.clock.advance(Span::from_secs(7));
    let mut claimed = Vec::new();
    for _ in 0..3 {
        claimed.push(master.claim("w").await.expect("a job"));
    }
    assert!(master.claim("w").await.is_none(), "the other queue is unaffected");
    let after = samples(&master).await;
    changed(
        &before,
        &after,
        &[
            ("orchestra_jobs_submitted_total{queue=\"default\"}", 3.0),
            ("orchestra_jobs_submitted_total{queue=\"night\"}", 1.0),
            ("orchestra_claims_total{answer=\"jobs\"}", 3.0),
            ("orchestra_claims_total{answer=\"none\"}", 1.0),
            ("orchestra_claims_total{answer=\"failed\"}", 0.0),
            ("orchestra_jobs_claimed_total{queue=\"default\"}", 3.0),
            ("orchestra_jobs_claimed_total{queue=\"night\"}", 0.0),
            ("orchestra_queue_seconds_count", 3.0),
            ("orchestra_queue_seconds_sum", 21.0),
            ("orchestra_queue_seconds_bucket{le=\"5\"}", 0.0),
            ("orchestra_queue_seconds_bucket{le=\"15\"}", 3.0),
            ("orchestra_queue_pending_jobs{queue=\"night\"}", 1.0),
            ("orchestra_queue_running_jobs{queue=\"default\"}", 3.0),
            ("orchestra_queue_oldest_pending_seconds{queue=\"night\"}", 7.0),
            ("orchestra_queue_oldest_pending_seconds{queue=\"default\"}", 0.0),
            ("orchestra_worker_running_jobs{worker=\"w\"}", 3.0),
            (
                "orchestra_http_requests_total{method=\"POST\",route=\"/api/job\",status=\"2xx\"}",
                4.0,
            ),
            (
                "orchestra_http_requests_total{method=\"POST\",route=\"/api/job/claim\",status=\"2xx\"}",
                4.0,
            ),
            ("orchestra_store_seconds_count{call=\"submit\"}", 4.0),
        ],
    );
    let before = after;
    let [well, badly, lost] = &claimed[..] else { panic!("three were claimed") };
    for one in [well, badly] {
        end(&master, one, json!({"status": "Running"})).await;
    }
    let bytes = encode(&[out("output\n")]).len();
    let bytes = f64::from(u32::try_from(bytes).unwrap());
    let head = master.stored(well, &[out("output\n")], 0).await;
    let usage = json!({"cpuMs": 1, "peakMemory": 0, "wallMs": 2500, "imageMs": 30, "startMs": 20});
    let log = json!({"offset": head.offset, "crc32": head.crc32});
    end(&master, well, json!({"status": "Completed", "exitCode": 0, "usage": usage, "log": log}))
        .await;
    end(&master, badly, json!({"status": "Failed", "outcome": {"kind": "timedOut"}})).await;
    master.clock.advance(LEASE);
    assert_eq!(master.service.expire_leases().await.unwrap(), 1);
    let late = master.report(lost, "w", json!({"status": "Completed", "exitCode": 0})).await;
    assert_eq!(late.status, 409);
    assert_eq!(master.get("/no/such/thing").await.status, 404);
    let after = samples(&master).await;
    changed(
        &before,
        &after,
        &[
            ("orchestra_attempts_total{outcome=\"exited\"}", 1.0),
            ("orchestra_attempts_total{outcome=\"timedOut\"}", 1.0),
            ("orchestra_attempts_total{outcome=\"lost\"}", 1.0),
            ("orchestra_leases_lost_total", 1.0),
            ("orchestra_stale_calls_total{call=\"update\"}", 1.0),
            ("orchestra_start_seconds_count", 1.0),
            ("orchestra_start_seconds_sum", 0.05),
            ("orchestra_run_seconds_count", 1.0),
            ("orchestra_run_seconds_sum", 2.5),
            ("orchestra_log_bytes_total", bytes),
            ("orchestra_http_requests_total{method=\"GET\",route=\"(none)\",status=\"4xx\"}", 1.0),
            ("orchestra_workers{state=\"online\"}", -1.0),
            ("orchestra_workers{state=\"away\"}", 1.0),
        ],
    );
    assert!(
        !after.keys().any(|name| name.contains("worker=\"w\"")),
        "one that is away has no series"
    );
}

#[tokio::test]
async fn what_a_worker_tells_is_there_as_long_as_it_is() {
    let master = Master::start().await;
    register(&master, "w").await;
    let stats = json!({
        "engine": {"create a container": {"count": 5, "failed": 2, "totalMs": 1250}},
        "pool": {"ready": 2, "hits": 7, "misses": 1},
        "images": [{"name": "gcc", "built": true, "size": "1m", "ready": 2}],
        "checks": [{"name": "engine", "ok": true, "detail": "it answers"}],
    });
    let reply = master.post("/api/worker/w/heartbeat", json!({"leases": [], "stats": stats})).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let there = samples(&master).await;
    for (name, value) in [
        ("orchestra_worker_engine_calls_total{call=\"create a container\",worker=\"w\"}", 5.0),
        ("orchestra_worker_engine_failures_total{call=\"create a container\",worker=\"w\"}", 2.0),
        ("orchestra_worker_engine_seconds_total{call=\"create a container\",worker=\"w\"}", 1.25),
        ("orchestra_worker_warm_sandboxes{worker=\"w\"}", 2.0),
        ("orchestra_worker_warm_hits_total{worker=\"w\"}", 7.0),
        ("orchestra_worker_warm_misses_total{worker=\"w\"}", 1.0),
        ("orchestra_worker_slots{worker=\"w\"}", 3.0),
        ("orchestra_queue_workers{queue=\"night\"}", 1.0),
    ] {
        assert_eq!(there.get(name), Some(&value), "{name}: {there:#?}");
    }
    let shown = master.get("/api/worker").await.json();
    assert_eq!(shown[0]["stats"]["pool"]["hits"], 7, "{shown}");
    // A heartbeat without statistics removes them. One with too many of them is still accepted.
    master.post("/api/worker/w/heartbeat", json!({"leases": []})).await;
    assert!(!samples(&master).await.keys().any(|name| name.contains("warm_hits")));
    let many: BTreeMap<_, _> = (0..500)
        .map(|n| (format!("call {n:03}"), json!({"count": 1, "failed": 0, "totalMs": 1})))
        .collect();
    let many =
        json!({"engine": many, "checks": [{"name": "x".repeat(9999), "ok": true, "detail": ""}]});
    let reply = master.post("/api/worker/w/heartbeat", json!({"leases": [], "stats": many})).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let calls =
        samples(&master).await.keys().filter(|name| name.contains("engine_calls_total{")).count();
    assert_eq!(calls, 64);
}

/// While no courier runs, pending messages are counted; once one does, each try is.
#[tokio::test]
async fn messages_to_webhooks_are_counted_while_they_wait() {
    let master = Master::start().await;
    let webhook = json!({"url": "https://receiver.invalid/hook"});
    assert_eq!(master.post("/api/webhook", webhook).await.status, 201);
    let before = samples(&master).await;
    for _ in 0..2 {
        let id = master.submit(json!({"command": "true"})).await;
        master.bare("POST", &format!("/api/job/{id}/cancel")).await;
    }
    let after = samples(&master).await;
    changed(&before, &after, &[("orchestra_webhook_deliveries_waiting", 2.0)]);
    for result in ["delivered", "failed", "given_up"] {
        let name = format!("orchestra_webhook_deliveries_total{{result=\"{result}\"}}");
        assert_eq!(after[&name], 0.0);
    }
}

#[tokio::test]
async fn the_process_says_how_it_is_under_the_usual_names() {
    let there = samples(&Master::start().await).await;
    assert!(there["process_resident_memory_bytes"] > 1e6, "{there:?}");
    assert!(there["process_open_fds"] < there["process_max_fds"], "{there:?}");
    assert!(there["process_start_time_seconds"] > 1.7e9, "{there:?}");
    assert!(there["process_cpu_seconds_total"] >= 0.0, "{there:?}");
}

#[tokio::test]
async fn streams_are_counted_while_they_are_open() {
    let master = Master::serving_readers(5).await;
    let id = master.submit(json!({"command": "true"})).await;
    let path = format!("/api/job/{id}/log?follow=true");
    let stream = master.open(request("GET", &path).body(Body::empty()).unwrap()).await;
    let mut stream = Open::new(stream);
    let open = samples(&master).await;
    assert_eq!((open["orchestra_streams"], open["orchestra_streams_limit"]), (1.0, 5.0));
    master.bare("POST", &format!("/api/job/{id}/cancel")).await;
    stream.until("").await;
    stream.end().await.unwrap();
    assert_eq!(samples(&master).await["orchestra_streams"], 0.0);
}

/// Otherwise anyone who can submit could create a series for each job.
#[tokio::test]
async fn people_make_no_more_series_than_there_are_to_be() {
    let master = Master::start().await;
    let jobs: Vec<_> =
        (0..130).map(|n| json!({"command": "true", "queue": format!("q{n:03}")})).collect();
    assert_eq!(master.post("/api/job", json!(jobs)).await.status, 201);
    for n in 0..130 {
        master.get(&format!("/no/such/{n}")).await;
        master.bare(&format!("ODD{n}"), "/api/job").await;
    }
    let there = samples(&master).await;
    for name in ["orchestra_jobs_submitted_total", "orchestra_queue_pending_jobs"] {
        let of: Vec<_> =
            there.iter().filter(|(it, _)| it.starts_with(&format!("{name}{{"))).collect();
        assert_eq!(of.len(), 101, "{of:?}");
        assert_eq!(of.iter().map(|(_, value)| **value).sum::<f64>(), 130.0);
        assert_eq!(there[&format!("{name}{{queue=\"(other)\"}}")], 30.0);
    }
    let requests = there.keys().filter(|name| name.starts_with("orchestra_http_requests_total{"));
    assert!(requests.clone().count() <= 5, "{:?}", requests.collect::<Vec<_>>());
}

/// A retried job is older than the queue's cached oldest job.
#[tokio::test]
async fn the_oldest_is_found_also_behind_a_place_where_there_was_none() {
    let master = Master::start().await;
    let first = master.submit(json!({"command": "true"})).await;
    master.clock.advance(Span::from_secs(60));
    master.submit(json!({"command": "true"})).await;
    let oldest = async || samples(&master).await["orchestra_queue_oldest_pending_seconds{queue=\"default\"}"];
    assert_eq!(oldest().await, 60.0);
    master.bare("POST", &format!("/api/job/{first}/cancel")).await;
    assert_eq!(oldest().await, 0.0);
    master.bare("POST", &format!("/api/job/{first}/retry")).await;
    master.clock.advance(Span::from_secs(600));
    assert_eq!(oldest().await, 660.0);
}

#[tokio::test]
async fn they_are_read_also_while_the_database_is_in_trouble() {
    let master = Master::start().await;
    master.submit(json!({"command": "true"})).await;
    assert_eq!(samples(&master).await["orchestra_store_usable"], 1.0);
    master.faults.plan(Plan::Writes);
    assert_eq!(master.post("/api/job", json!({"command": "true"})).await.status, 503);
    assert_eq!(samples(&master).await["orchestra_store_failures_total{call=\"submit\"}"], 1.0);
    // The next database operation reads the list of queues.
    master.faults.plan(Plan::Once(master.faults.operations() + 1, Fault::Before));
    let away = samples(&master).await;
    assert_eq!(away["orchestra_store_usable"], 0.0);
    assert_eq!(away["orchestra_jobs_submitted_total{queue=\"default\"}"], 1.0);
    assert_eq!(samples(&master).await["orchestra_store_usable"], 1.0);
}

#[tokio::test]
async fn with_tokens_it_is_for_clients() {
    let master = Master::with_tokens().await;
    let client = issue(&master, Role::Client, None).await.token;
    let bearer = format!("Bearer {}", client.as_str());
    let request = request("GET", "/metrics").header("authorization", bearer);
    assert_eq!(master.send(request.body(Body::empty()).unwrap()).await.status, 200);
    assert_eq!(master.get("/metrics").await.problem(), "unauthenticated");
}
