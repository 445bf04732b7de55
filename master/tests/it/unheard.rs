//! Masters on one database that do not hear of each other: whoever waits looks once a second.

use std::time::{Duration, Instant};

use axum::body::Body;
use orchestra_contracts::worker::Claimed;
use serde_json::json;

use crate::harness::{Master, Open, encode, out, request};

/// Two looks, on a busy machine.
const LOOKED: Duration = Duration::from_secs(8);

#[tokio::test]
async fn what_another_master_commits_is_found_without_a_word_of_it() {
    let one = Master::start().await;
    let other = one.beside();
    let terms = json!({"worker": "w", "wait": "2m"});
    let (claim, (id, begun)) = tokio::join!(other.post("/api/job/claim", terms), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        (one.submit(json!({"command": "true"})).await, Instant::now())
    });
    let claimed = claim.read::<Vec<Claimed>>().remove(0);
    assert_eq!(claimed.job.id.0, id);
    assert!(begun.elapsed() < LOOKED, "a claim that waits: {:?}", begun.elapsed());

    let follow = request("GET", &format!("/api/job/{id}/log?follow=true"));
    let mut log = Open::new(one.open(follow.body(Body::empty()).unwrap()).await);
    let begun = Instant::now();
    let head = other.stored(&claimed, &[out("first\n")], 0).await;
    log.until("first").await;
    assert!(begun.elapsed() < LOOKED, "a reader: {:?}", begun.elapsed());

    let wait = format!("/api/job/{id}?wait=2m");
    let end = json!({
        "status": "Completed", "exitCode": 0, "log": {"offset": head.offset, "crc32": head.crc32},
    });
    let begun = Instant::now();
    let (waited, ended) = tokio::join!(one.get(&wait), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        other.report(&claimed, "w", end).await
    });
    assert_eq!(ended.status, 200, "{ended:?}");
    assert_eq!(waited.json()["status"], "Completed");
    assert!(begun.elapsed() < LOOKED, "who waits for an end: {:?}", begun.elapsed());
    log.end().await.expect("it ends with the job");
    let second = other.upload(&claimed, "w", head.offset, encode(&[out("late\n")])).await;
    assert_eq!(second.status, 409);
}
