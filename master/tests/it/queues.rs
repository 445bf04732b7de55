//! Operators pause queues, limit them, and drain workers.

use serde_json::{Value, json};

use crate::harness::Master;

async fn register(master: &Master, worker: &str, queue: &str) {
    let registration = json!({"slots": 2, "queues": [queue], "version": "1"});
    let reply = master.send_json("PUT", &format!("/api/worker/{worker}"), &registration).await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

async fn change(master: &Master, queue: &str, change: Value) -> Value {
    let reply = master.send_json("PATCH", &format!("/api/queue/{queue}"), &change).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

#[tokio::test]
async fn a_queue_is_paused_and_resumed() {
    let master = Master::start().await;
    register(&master, "w", "default").await;
    master.submit(json!({"command": "true"})).await;
    let paused = change(&master, "default", json!({"paused": true})).await;
    let since = "2026-01-02T03:04:05Z";
    let due = json!({"name": "default", "paused": true, "pausedSince": since,
        "concurrency": null, "pending": 1, "running": 0, "workers": 1});
    assert_eq!(paused, due);
    assert_eq!(master.get("/api/queue").await.json(), json!([due]));
    assert!(master.claim("w").await.is_none());
    assert_eq!(master.post("/api/job/claim", json!("curl")).await.status, 204);
    let resumed = change(&master, "default", json!({"paused": false})).await;
    assert_eq!((&resumed["paused"], &resumed["pausedSince"]), (&json!(false), &Value::Null));
    assert!(master.claim("w").await.is_some());
}

#[tokio::test]
async fn a_claim_that_waits_hears_of_a_resumed_queue() {
    let master = Master::start().await;
    master.submit(json!({"command": "true"})).await;
    change(&master, "default", json!({"paused": true})).await;
    let claim = master.post("/api/job/claim", json!({"worker": "w", "wait": "30s"}));
    let resume = async {
        tokio::task::yield_now().await;
        change(&master, "default", json!({"paused": false})).await
    };
    let (claimed, _) = tokio::join!(claim, resume);
    assert_eq!(claimed.json()[0]["job"]["id"], 1);
}

#[tokio::test]
async fn a_bound_holds_and_goes() {
    let master = Master::start().await;
    for _ in 0..3 {
        master.submit(json!({"command": "true"})).await;
    }
    assert_eq!(change(&master, "default", json!({"concurrency": 1})).await["concurrency"], 1);
    let first = master.claim("w").await.expect("one may be held");
    assert!(master.claim("w").await.is_none());
    assert_eq!(master.get("/api/queue").await.json()[0]["running"], 1);
    master.report(&first, "w", json!({"status": "Completed"})).await;
    assert!(master.claim("w").await.is_some());
    assert!(master.claim("w").await.is_none());
    assert_eq!(
        change(&master, "default", json!({"concurrency": null})).await["concurrency"],
        Value::Null
    );
    assert!(master.claim("w").await.is_some());
}

#[tokio::test]
async fn a_drained_worker_claims_nothing_until_that_is_lifted() {
    let master = Master::start().await;
    assert_eq!(master.bare("POST", "/api/worker/w/drain").await.problem(), "not-found");
    register(&master, "w", "default").await;
    for _ in 0..3 {
        master.submit(json!({"command": "true"})).await;
    }
    let held = master.claim("w").await.unwrap();
    let drained = master.bare("POST", "/api/worker/w/drain").await;
    assert_eq!(drained.status, 200, "{drained:?}");
    assert_eq!(drained.json()["drainingSince"], "2026-01-02T03:04:05Z");
    assert_eq!(drained.json()["running"], json!([1]));
    assert!(master.claim("w").await.is_none());
    register(&master, "w", "default").await;
    assert!(master.claim("w").await.is_none(), "it was started again");
    assert!(master.claim("other").await.is_some());
    let ended = master.report(&held, "w", json!({"status": "Completed"})).await;
    assert_eq!(ended.status, 200, "it finishes the job that it held: {ended:?}");

    let lifted = master.bare("DELETE", "/api/worker/w/drain").await.json();
    assert_eq!(lifted["drainingSince"], Value::Null);
    assert!(master.claim("w").await.is_some());
}

/// A job is left to a worker that has its image, unless that worker is drained.
#[tokio::test]
async fn nothing_is_left_to_a_drained_worker() {
    let master = Master::start().await;
    for (worker, images) in [("with", json!(["rust"])), ("without", json!([]))] {
        let registration = json!({"slots": 1, "queues": ["default"], "version": "1", "offer": {
            "cpus": 1, "memory": "1g", "pids": 64, "tmp": "64m", "images": images}});
        master.send_json("PUT", &format!("/api/worker/{worker}"), &registration).await;
    }
    master.submit(json!({"command": "true", "image": "rust"})).await;
    assert!(master.claim("without").await.is_none());
    master.bare("POST", "/api/worker/with/drain").await;
    assert!(master.claim("without").await.is_some());
}
