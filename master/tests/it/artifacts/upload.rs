//! Uploads of artifacts by a worker: in pieces, under its lease, within the limits.

use std::sync::Arc;

use orchestra_contracts::{Size, files::Artifacts, worker::ARTIFACT_PIECE};
use serde_json::json;
use tokio::task::JoinSet;

use super::artifact;
use crate::harness::{LEASE, Master, encode, out};

#[tokio::test]
async fn a_piece_comes_twice_late_or_too_early() {
    let master = Master::start().await;
    let claimed = master.keeping().await;
    master.put(&claimed, "a", b"abc").await;
    assert_eq!(master.piece(&claimed, "a", 1, b"bcde").await.json(), json!({"offset": 5}));
    assert_eq!(master.piece(&claimed, "a", 0, b"abc").await.json(), json!({"offset": 5}));
    for (path, offset, stored) in [("a", 6, 5), ("other", 1, 0)] {
        let hole = master.piece(&claimed, path, offset, b"x").await;
        assert_eq!((hole.status.as_u16(), hole.problem().as_str()), (409, "artifact-offset"));
        assert_eq!(hole.json()["artifact"], json!({"offset": stored}));
    }
    let two = vec![0; ARTIFACT_PIECE + 1];
    let large = master.piece(&claimed, "large", 0, &two).await;
    assert_eq!((large.status.as_u16(), large.problem().as_str()), (413, "too-large"));
    let left = [artifact("a", b"abcde")];
    assert_eq!(master.ends_with(&claimed, &left).await.status, 200);
    assert_eq!(
        master.ends_with(&claimed, &left).await.status,
        200,
        "a repeated report is accepted"
    );
    assert_eq!(master.fetch(1, "a", &[]).await.body, "abcde");
}

#[tokio::test]
async fn an_attempt_ends_with_the_files_that_it_names_and_no_others() {
    let master = Master::start().await;
    let claimed = master.keeping().await;
    let whole = master.put(&claimed, "whole", b"abc").await;
    master.put(&claimed, "begun", b"ab").await;
    for (named, offset) in [
        (artifact("begun", b"abc"), 2),
        (artifact("never", b"x"), 0),
        (artifact("whole", b"abd"), 3),
    ] {
        let reply = master.ends_with(&claimed, &[named]).await;
        let is = (reply.status.as_u16(), reply.problem());
        assert_eq!(is, (409, "artifact-incomplete".to_owned()), "{reply:?}");
        assert_eq!(reply.json()["artifact"], json!({"offset": offset}));
    }
    assert_eq!(master.job(1).await["status"], "Running");
    assert_eq!(master.ends_with(&claimed, &[whole]).await.status, 200);
    let listed: Artifacts = master.get("/api/job/1/artifacts").await.read();
    assert_eq!(listed.artifacts.len(), 1);
    let gone = master.fetch(1, "begun", &[]).await;
    assert_eq!((gone.status.as_u16(), gone.problem().as_str()), (404, "not-found"));
}

#[tokio::test]
async fn only_the_holder_of_the_lease_uploads() {
    let master = Master::start().await;
    let claimed = master.keeping().await;
    master.put(&claimed, "a", b"x").await;
    let mut other = claimed.clone();
    other.lease.token = orchestra_contracts::LeaseToken::new("other");
    let wrong = master.piece(&other, "a", 1, b"y").await;
    assert_eq!((wrong.status.as_u16(), wrong.problem().as_str()), (409, "lease-lost"));
    let none = master.running(json!({"command": "true"})).await;
    let unasked = master.piece(&none, "a", 0, b"x").await;
    assert_eq!((unasked.status.as_u16(), unasked.problem().as_str()), (409, "illegal-step"));
    master.clock.advance(LEASE);
    master.service.expire_leases().await.unwrap();
    assert_eq!(master.piece(&claimed, "a", 1, b"y").await.problem(), "lease-lost");
    let stale = &master.get("/readyz").await.json()["stale"];
    assert_eq!(stale["artifacts"], 2);
}

#[tokio::test]
async fn what_is_too_much_is_left_out_and_the_rest_is_kept() {
    let master = Master::keeping_at_most(Size(10)).await;
    let claimed = master.keeping().await;
    let small = master.put(&claimed, "small", b"1234").await;
    assert_eq!(master.piece(&claimed, "large", 0, b"123456").await.status, 200);
    let beyond = master.piece(&claimed, "large", 6, b"7").await;
    assert_eq!((beyond.status.as_u16(), beyond.problem().as_str()), (413, "too-large"));
    assert!(beyond.json()["hint"].as_str().unwrap().contains("ORCHESTRA_ARTIFACTS_LIMIT"));
    let last = master.put(&claimed, "last", b"123456").await;
    assert_eq!(master.ends_with(&claimed, &[small, last]).await.status, 200);
}

/// A job may name its files so that JSON needs six bytes for each byte of a name.
#[tokio::test]
async fn the_longest_report_is_taken() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "true"})).await;
    let paths: Vec<_> = (0..1000).map(|n| format!("{}{n}", "\u{1}".repeat(1020))).collect();
    let end = json!({"status": "Completed", "changes": {"created": paths}});
    assert_eq!(master.report(&claimed, "w", end).await.status, 200);
    assert_eq!(master.get("/api/job/1/changes").await.json()["created"][7], paths[7]);
}

/// Uploads a hundred megabytes beside a job with output, and measures how long its log waits to be
/// stored. For figures, run it with `--nocapture --ignored` in release mode.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn a_large_upload_holds_no_log_up() {
    const PIECES: u64 = 100;
    let master = Arc::new(Master::start().await);
    let large = master.keeping().await;
    let small = master.running(json!({"command": "true"})).await;
    let frames = encode(&[out("a line of output\n")]);
    let mut offset = 0;
    let append = async |offset: &mut u64| {
        let begun = std::time::Instant::now();
        let reply = master.upload(&small, "w", *offset, frames.clone()).await;
        assert_eq!(reply.status, 200);
        *offset += frames.len() as u64;
        begun.elapsed()
    };
    let mut alone = Vec::new();
    for _ in 0..100 {
        alone.push(append(&mut offset).await);
    }
    let mut uploading = JoinSet::new();
    {
        let master = master.clone();
        uploading.spawn(async move {
            let piece = vec![7; ARTIFACT_PIECE];
            let begun = std::time::Instant::now();
            for place in 0..PIECES {
                let at = place * ARTIFACT_PIECE as u64;
                assert_eq!(master.piece(&large, "large", at, &piece).await.status, 200);
            }
            begun.elapsed()
        });
    }
    let mut beside = Vec::new();
    let took = loop {
        beside.push(append(&mut offset).await);
        if let Some(took) = uploading.try_join_next() {
            break took.unwrap();
        }
    };
    let tell = |name: &str, mut times: Vec<std::time::Duration>| {
        times.sort();
        let (middle, last) = (times[times.len() / 2], times[times.len() - 1]);
        println!("{name}: {} appends, median {middle:?}, longest {last:?}", times.len());
    };
    println!("{PIECES} MiB in {took:?}");
    tell("alone", alone);
    tell("beside", beside);
    let begun = std::time::Instant::now();
    master.bare("DELETE", "/api/job/1").await;
    master.report(&small, "w", json!({"status": "Completed"})).await;
    println!("a report behind its deletion: {:?}", begun.elapsed());
}
