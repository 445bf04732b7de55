//! What can be sent with the report of an end: the rest of the log, and a claim for the next job.

use base64::prelude::{BASE64_STANDARD, Engine};
use orchestra_contracts::{
    Span,
    frame::Frame,
    worker::{Claimed, LogEnd, Updated},
};
use serde_json::{Value, json};

use crate::harness::{Master, Open, encode, err, out, request, soon, system};

/// The report of an end whose log is `text`, with these frames as the rest after `behind` stored bytes.
fn end(frames: &[Frame], behind: u64, text: &str) -> Value {
    let rest = encode(frames);
    let log =
        LogEnd { offset: behind + rest.len() as u64, crc32: crc32fast::hash(text.as_bytes()) };
    let rest = BASE64_STANDARD.encode(rest);
    json!({"status": "Completed", "exitCode": 0, "log": log, "rest": rest})
}

/// The report of an end without output, with this claim.
fn and_claim(claim: &Value) -> Value {
    let log = json!({"offset": 0, "crc32": 0});
    json!({"status": "Completed", "exitCode": 0, "log": log, "claim": claim})
}

async fn log_of(master: &Master, id: i64) -> String {
    master.get(&format!("/api/job/{id}/log")).await.text()
}

#[tokio::test]
async fn a_short_log_comes_whole_with_its_end_and_once() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "echo"})).await;
    let frames = [out("hello\n"), err("oh\n"), system("a note"), out("bye\n")];
    let report = end(&frames, 0, "hello\noh\nbye\n");
    for _ in 0..2 {
        let reply = master.report(&claimed, "w", report.clone()).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let job = reply.json();
        assert_eq!((&job["output"], &job["error"]), (&json!("hello\nbye\n"), &json!("oh\n")));
        assert_eq!(job["outputTruncated"], false);
        assert_eq!(log_of(&master, 1).await, "hello\noh\nbye\n");
    }
    let metrics = master.get("/metrics").await.text();
    let bytes = encode(&frames).len();
    assert!(metrics.contains(&format!("orchestra_log_bytes_total {bytes}\n")), "{metrics}");
}

#[tokio::test]
async fn a_rest_goes_behind_what_was_uploaded_and_live_readers_see_it() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "echo"})).await;
    let head = master.stored(&claimed, &[out("one\n"), err("two\n")], 0).await;
    let live = request("GET", "/api/job/1/log?follow=true").body(axum::body::Body::empty());
    let mut reader = Open::new(master.open(live.unwrap()).await);
    reader.until("one\ntwo\n").await;
    let report = end(&[out("three\n")], head.offset, "one\ntwo\nthree\n");
    let job = master.report(&claimed, "w", report).await.json();
    assert_eq!((&job["output"], &job["error"]), (&json!("one\nthree\n"), &json!("two\n")));
    assert_eq!(reader.end().await.unwrap(), "one\ntwo\nthree\n");
}

/// An upload stored the rest but its answer was lost; then the end repeats a part of it.
#[tokio::test]
async fn of_a_rest_that_is_stored_in_part_nothing_is_shown_twice() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "echo"})).await;
    let frames = [out("one\n"), out("two\n"), out("three\n")];
    master.stored(&claimed, &frames[..2], 0).await;
    let behind = encode(&frames[..1]).len() as u64;
    let report = end(&frames[1..], behind, "one\ntwo\nthree\n");
    let job = master.report(&claimed, "w", report).await.json();
    assert_eq!(job["output"], "one\ntwo\nthree\n");
    assert_eq!(log_of(&master, 1).await, "one\ntwo\nthree\n");
}

/// The worker lost the answer to an upload and assumes that more is stored than is.
#[tokio::test]
async fn a_rest_that_does_not_fit_ends_nothing() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "echo"})).await;
    let reply = master.report(&claimed, "w", end(&[out("two")], 20, "onetwo")).await;
    assert_eq!((reply.status.as_u16(), reply.problem().as_str()), (409, "log-incomplete"));
    assert_eq!(reply.json()["log"]["offset"], 0);
    let reply = master.report(&claimed, "w", end(&[out("two")], 0, "other")).await;
    assert_eq!(reply.problem(), "log-incomplete");
    assert_eq!(master.job(1).await["status"], "Running");
    let reply = master.report(&claimed, "w", end(&[out("two")], 0, "two")).await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[tokio::test]
async fn an_end_brings_the_next_job() {
    let master = Master::start().await;
    let first = master.running(json!({"command": "true", "secrets": {"A": "of the first"}})).await;
    master.submit(json!({"command": "true", "secrets": {"A": "hush hush"}})).await;
    master.submit(json!({"command": "true", "queue": "other"})).await;
    let claim = json!({"requestId": "r1"});
    let told: Updated = master.report(&first, "w", and_claim(&claim)).await.read();
    assert_eq!((told.id.0, &told.job, &told.problem), (1, &None, &None));
    let [next] = &told.next[..] else { panic!("{told:?}") };
    assert_eq!((next.job.id.0, next.lease.ttl), (2, Span::from_secs(60)));
    assert_eq!(next.job.spec.secrets["A"].expose(), "hush hush");
    assert_eq!(master.job(1).await["status"], "Completed");
    assert_eq!(master.job(2).await["assignedWorker"], "w");

    // The answer was lost: both the repeated report and a claim with its id find the same lease.
    let again: Updated = master.report(&first, "w", and_claim(&claim)).await.read();
    assert_eq!(again.next[0].lease.token, next.lease.token);
    let claim = json!({"worker": "w", "requestId": "r1"});
    let claimed: Vec<Claimed> = master.post("/api/job/claim", claim).await.read();
    assert_eq!(claimed[0].lease.token, next.lease.token);

    // By then no job is left in this queue.
    let reply = master.report(next, "w", and_claim(&json!({}))).await;
    assert_eq!(reply.json(), json!({"id": 2}));
}

/// How many claims the store has handled.
async fn asked_for_claims(master: &Master) -> u64 {
    let metrics = master.get("/metrics").await.text();
    let count = "orchestra_store_seconds_count{call=\"claim\"} ";
    let count = metrics.lines().find_map(|line| line.strip_prefix(count));
    count.expect("there was a claim before").parse().unwrap()
}

/// Both workers could take the job: the one that already waits gets it.
#[tokio::test]
async fn who_waits_already_goes_first() {
    let master = Master::start().await;
    let held = master.running(json!({"command": "true"})).await;
    master.submit(json!({"command": "true", "after": [1]})).await;
    let waits = json!({"worker": "other", "wait": "20s"});
    let end = async {
        // By then the store has been asked for the other worker's claim, after that of `held`.
        while asked_for_claims(&master).await < 2 {
            tokio::task::yield_now().await;
        }
        master.report(&held, "w", and_claim(&json!({}))).await
    };
    let (claimed, told) = tokio::join!(master.post("/api/job/claim", waits), soon(end));
    assert_eq!(told.json(), json!({"id": 1}));
    assert_eq!(claimed.read::<Vec<Claimed>>()[0].job.id.0, 2);
}

#[tokio::test]
async fn a_report_that_is_refused_brings_nothing_and_takes_nothing_away() {
    let master = Master::start().await;
    let held = master.running(json!({"command": "true"})).await;
    master.submit(json!({"command": "true"})).await;
    let mut short = and_claim(&json!({}));
    short["log"] = json!({"offset": 99, "crc32": 0});
    let reply = master.report(&held, "w", short).await;
    assert_eq!(reply.problem(), "log-incomplete");
    let other = json!({"worker": "other", "wait": "20s"});
    let claimed: Vec<Claimed> = soon(master.post("/api/job/claim", other)).await.read();
    assert_eq!(claimed[0].job.id.0, 2, "it is there for others");
    assert_eq!(master.job(2).await["retryCount"], 0);
}

#[tokio::test]
async fn a_worker_that_is_drained_is_handed_nothing_with_its_ends() {
    let master = Master::start().await;
    let registration = json!({"slots": 1, "queues": ["default"], "version": "1"});
    assert_eq!(master.send_json("PUT", "/api/worker/w", &registration).await.status, 200);
    let held = master.running(json!({"command": "true"})).await;
    master.submit(json!({"command": "true"})).await;
    assert_eq!(master.bare("POST", "/api/worker/w/drain").await.status, 200);
    let reply = master.report(&held, "w", and_claim(&json!({}))).await;
    assert_eq!(reply.json(), json!({"id": 1}));
    assert_eq!(master.job(2).await["status"], "Pending");
}

#[tokio::test]
async fn in_a_list_each_report_claims_for_itself() {
    let master = Master::start().await;
    for _ in 0..5 {
        master.submit(json!({"command": "true"})).await;
    }
    let terms = json!({"worker": "w", "slots": 3});
    let held: Vec<Claimed> = master.post("/api/job/claim", terms).await.read();
    let list: Vec<Value> = held
        .iter()
        .enumerate()
        .map(|(place, held)| {
            let mut report = and_claim(&json!({"slots": place}));
            if place == 0 {
                report.as_object_mut().unwrap().remove("claim");
            }
            report["id"] = json!(held.job.id);
            report["assignedWorker"] = json!("w");
            report["attempt"] = json!(held.lease.attempt);
            report["leaseToken"] = json!(held.lease.token);
            report
        })
        .collect();
    let told: Vec<Updated> = master.post("/api/job/update", json!(list)).await.read();
    let next: Vec<Vec<i64>> =
        told.iter().map(|one| one.next.iter().map(|next| next.job.id.0).collect()).collect();
    assert_eq!(next, [vec![], vec![4], vec![5]]);
    let shown: Vec<bool> = told.iter().map(|one| one.job.is_some()).collect();
    assert_eq!(shown, [true, false, false]);
}
