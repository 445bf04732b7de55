//! The seven original calls, and those beside them.

use serde_json::{Value, json};

use crate::harness::Master;

#[tokio::test]
async fn submit_answers_the_job_and_where_it_is() {
    let master = Master::start().await;
    let reply = master
        .post("/api/job", json!({"command": "g++ Hello.cpp -o Hello && ./Hello", "maxRetries": 3}))
        .await;
    assert_eq!(reply.status, 201);
    assert_eq!(reply.header("location"), "/api/job/1");
    assert_eq!(reply.header("x-content-type-options"), "nosniff");
    assert!(!reply.header("x-request-id").is_empty());
    assert_eq!(
        reply.json(),
        json!({
            "id": 1, "command": "g++ Hello.cpp -o Hello && ./Hello", "maxRetries": 3,
            "timeout": "1h", "queue": "default", "status": "Pending", "assignedWorker": null,
            "retryCount": 0, "attempt": null, "output": "", "error": "", "outputTruncated": false,
            "exitCode": null, "outcome": null, "reason": null, "usage": null,
            "createdAt": "2026-01-02T03:04:05Z", "startedAt": null, "finishedAt": null
        })
    );
    assert_eq!(master.get("/api/job/1").await.json(), reply.json());
}

#[tokio::test]
async fn pending_jobs_come_in_claiming_order() {
    let master = Master::start().await;
    assert_eq!(master.get("/api/job/pending").await.json(), json!([]));
    master.submit(json!({"command": "first"})).await;
    master.submit(json!({"command": "second"})).await;
    master.submit(json!({"command": "urgent", "priority": 5})).await;
    let commands = |list: Value| -> Vec<String> {
        let jobs = list.as_array().unwrap().clone();
        jobs.iter().map(|job| job["command"].as_str().unwrap().to_owned()).collect()
    };
    let pending = master.get("/api/job/pending").await.json();
    assert_eq!(commands(pending), ["urgent", "first", "second"]);
    assert_eq!(master.claim("w").await.unwrap().job.spec.command, "urgent");
    assert_eq!(commands(master.get("/api/job/pending").await.json()), ["first", "second"]);
    assert_eq!(commands(master.get("/api/job").await.json()), ["first", "second", "urgent"]);
}

#[tokio::test]
async fn a_spec_comes_back_as_it_went_in() {
    let master = Master::start().await;
    let spec = json!({
        "command": "make", "maxRetries": 3, "name": "nightly", "image": "gcc", "env": {"A": "b"},
        "timeout": "1h 30m", "priority": 5, "queue": "big", "labels": {"team": "core"},
        "resources": {"cpus": 2.0, "memory": "1g", "pids": 512, "tmp": "64m"},
        "network": "bridge", "stdin": "x\u{e9}\n"
    });
    let id = master.submit(spec.clone()).await;
    let job = master.job(id).await;
    for (field, value) in spec.as_object().unwrap() {
        assert_eq!(&job[field], value, "{field}");
    }
}

#[tokio::test]
async fn workers_register_and_are_listed() {
    let master = Master::start().await;
    let registration = json!({"slots": 2, "queues": ["default"], "version": "0.1.0", "host": "h"});
    let reply = master.send_json("PUT", "/api/worker/w1", &registration).await;
    assert_eq!(
        (reply.status.as_u16(), reply.json()),
        (200, json!({"lease": "1m", "heartbeat": "15s"}))
    );
    let listed = master.get("/api/worker").await.json();
    assert_eq!(listed[0]["name"], "w1");
    assert_eq!(listed[0]["online"], true);
    assert_eq!(listed[0]["running"], json!([]));
    master.clock.advance(orchestra_contracts::Span::from_secs(61));
    assert_eq!(master.get("/api/worker").await.json()[0]["online"], false);
    let reply = master.post("/api/worker/w1/heartbeat", json!({"leases": []})).await;
    assert_eq!(reply.json(), json!({"lease": "1m", "lost": [], "cancel": [], "register": false}));
    assert_eq!(master.get("/api/worker").await.json()[0]["online"], true);
    let reply = master.post("/api/worker/w2/heartbeat", json!({"leases": []})).await;
    assert_eq!(reply.json()["register"], true);
}

#[tokio::test]
async fn health_is_told() {
    let master = Master::start().await;
    assert_eq!(master.get("/healthz").await.json(), json!({"status": "alive"}));
    let stale = json!({"heartbeats": 0, "logs": 0, "artifacts": 0, "updates": 0});
    let ready = json!({"status": "ready", "stale": stale});
    assert_eq!(master.get("/readyz").await.json(), ready);
}

#[tokio::test]
async fn head_answers_like_get_without_a_body() {
    let master = Master::start().await;
    master.submit(json!({"command": "true"})).await;
    for path in ["/api/job", "/api/job/pending", "/api/job/1", "/api/job/1/log", "/healthz"] {
        let reply = master.bare("HEAD", path).await;
        assert_eq!((reply.status.as_u16(), reply.body.len()), (200, 0), "{path}");
    }
}

#[tokio::test]
async fn a_database_that_is_taken_away_is_told() {
    let master = Master::start().await;
    master.lose_database();
    let reply = master.get("/readyz").await;
    assert_eq!((reply.status.as_u16(), reply.problem().as_str()), (503, "unavailable"));
    let reply = master.post("/api/job", json!({"command": "true"})).await;
    assert_eq!((reply.status.as_u16(), reply.problem().as_str()), (503, "unavailable"));
    assert_eq!(reply.header("retry-after"), "1");
    assert_eq!(master.get("/healthz").await.status, 200, "the process lives");
}
