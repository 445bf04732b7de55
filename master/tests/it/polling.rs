//! Long polls.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use futures::FutureExt;
use orchestra_contracts::worker::Claimed;
use orchestra_master::store::SqliteStore;
use serde_json::json;

use crate::harness::{Master, Reply, request, soon};

#[tokio::test]
async fn a_waiting_claim_is_woken_by_a_submit() {
    let master = Master::start().await;
    let terms = json!({"worker": "w", "wait": "2m"});
    let (claim, id) = tokio::join!(master.post("/api/job/claim", terms), async {
        tokio::task::yield_now().await;
        master.submit(json!({"command": "true"})).await
    });
    assert_eq!(claim.read::<Vec<Claimed>>()[0].job.id.0, id);
}

/// A job submitted while a worker waits is stored and claimed in one transaction.
#[tokio::test]
async fn a_submit_that_somebody_waits_for_costs_one_commit() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(folder.path().join("a.db")).await.unwrap());
    let master = Master::over(store.clone());
    let job = json!({"command": "true"});
    let none = json!({"worker": "w"});
    assert_eq!(master.post("/api/job/claim", none).await.status, 204);
    let before = store.commits();
    let terms = json!({"worker": "w", "wait": "2m"});
    let (claim, id) = tokio::join!(master.post("/api/job/claim", terms), async {
        // The claim is tried once, and then waits.
        while store.commits() == before {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        master.submit(job.clone()).await
    });
    assert_eq!(claim.read::<Vec<Claimed>>()[0].job.id.0, id);
    assert_eq!(
        store.commits() - before,
        2,
        "one commit to look for a job, one to store and assign it"
    );
    // When no claim waits, the job is stored as usual.
    master.submit(job).await;
    assert_eq!(store.commits() - before, 3);
}

#[tokio::test]
async fn claims_are_served_in_order_of_arrival() {
    let master = Master::start().await;
    let claim = async |worker: &str| -> Reply {
        master.post("/api/job/claim", json!({"worker": worker, "wait": "2m"})).await
    };
    let mut first = Box::pin(claim("first"));
    assert!((&mut first).now_or_never().is_none());
    let mut second = Box::pin(claim("second"));
    assert!((&mut second).now_or_never().is_none());
    master.submit(json!({"command": "true"})).await;
    let claimed: Vec<Claimed> = first.await.read();
    assert_eq!(claimed[0].job.assigned_worker.as_ref().unwrap().as_str(), "first");
    master.submit(json!({"command": "true"})).await;
    assert_eq!(second.await.read::<Vec<Claimed>>().len(), 1);
}

#[tokio::test]
async fn an_empty_wait_ends_in_204() {
    let master = Master::start().await;
    let reply = master.post("/api/job/claim", json!({"worker": "w", "wait": "50ms"})).await;
    assert_eq!((reply.status.as_u16(), reply.body.len()), (204, 0));
}

/// A job is not lost at whatever moment its claimer disconnects.
#[tokio::test]
async fn a_claimer_who_has_gone_loses_no_job() {
    let master = Master::start().await;
    for round in 0..20 {
        let call = request("POST", "/api/job/claim")
            .header("content-type", "application/json")
            .body(Body::from(r#"{"worker": "gone", "wait": "2m"}"#))
            .unwrap();
        let router = master.router();
        let claim = async move { tower::ServiceExt::oneshot(router, call).await };
        // Dropped after a few polls, at a different moment in each round.
        let mut claim = Box::pin(claim);
        let id = master.submit(json!({"command": "true"})).await;
        let mut answered = false;
        for _ in 0..round {
            tokio::task::yield_now().await;
            if (&mut claim).now_or_never().is_some() {
                answered = true;
                break;
            }
        }
        drop(claim);
        let terms = json!({"worker": "here", "wait": "5s"});
        if answered {
            // The job was assigned to it, so no other worker may get it.
            assert_eq!(master.job(id).await["assignedWorker"], "gone");
        } else {
            let claimed: Vec<Claimed> = soon(master.post("/api/job/claim", terms)).await.read();
            assert_eq!(claimed[0].job.id.0, id, "round {round}");
        }
    }
}

#[tokio::test]
async fn get_waits_for_the_end() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "true"})).await;
    let (ended, _) = tokio::join!(
        master.get("/api/job/1?wait=2m"),
        master.report(&claimed, "w", json!({"status": "Completed"}))
    );
    assert_eq!(ended.json()["status"], "Completed");
    assert_eq!(master.get("/api/job/1?wait=2m").await.json()["status"], "Completed");
}

#[tokio::test]
async fn get_waits_no_longer_than_it_was_told() {
    let master = Master::start().await;
    master.submit(json!({"command": "true"})).await;
    let begun = tokio::time::Instant::now();
    let reply = master.get("/api/job/1?wait=150ms").await;
    assert_eq!(reply.json()["status"], "Pending");
    assert!(begun.elapsed() >= Duration::from_millis(150));
}
