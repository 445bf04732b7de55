//! Secrets: sent to the worker that holds the lease, and shown nowhere else.

use axum::body::Body;
use orchestra_master::{http, service};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{Master, Reply, request};

const VALUE: &str = "correct-horse-battery";

fn spec() -> Value {
    json!({"command": "deploy", "maxRetries": 1, "secrets": {"TOKEN": VALUE}})
}

fn hides(text: &[u8]) -> bool {
    !text.windows(VALUE.len()).any(|bytes| bytes == VALUE.as_bytes())
}

#[track_caller]
fn assert_hidden(reply: &Reply, name: &str) {
    assert!(hides(&reply.body), "{name}: {reply:?}");
}

#[tokio::test]
async fn they_reach_the_worker_that_claims_and_no_other_answer() {
    let master = Master::start().await;
    let submitted = master.post("/api/job", spec()).await;
    assert_hidden(&submitted, "submit");
    assert_eq!(submitted.json()["secrets"], json!({"TOKEN": "***"}));
    let id = submitted.json()["id"].as_i64().unwrap();

    let registration = json!({"slots": 1, "queues": ["default"], "version": "1"});
    master.send_json("PUT", "/api/worker/w", &registration).await;
    let claimed = master.claim("w").await.unwrap();
    assert_eq!(claimed.job.spec.secrets["TOKEN"].expose(), VALUE);
    let held = master.send_json("PUT", "/api/worker/w", &registration).await;
    assert_eq!(held.status, 200, "{held:?}");
    assert_hidden(&held, "what a worker holds");
    assert_eq!(held.json()["held"][0]["job"]["secrets"], json!({"TOKEN": "***"}));

    let mut asked = 0;
    for (method, path, _) in http::routes() {
        if method.as_str() == "GET" {
            let path = path.replace("{id}", &id.to_string());
            let path = path.replace("{attempt}", "1").replace("{name}", "w");
            assert_hidden(&master.get(&path).await, &path);
            asked += 1;
        }
    }
    assert!(asked > 8, "{asked}");
    assert_hidden(&master.get("/api/job?q=correct").await, "a search");
    assert_eq!(master.get("/api/job?q=correct").await.json(), json!([]));

    let running = master.report(&claimed, "w", json!({"status": "Running"})).await;
    assert_hidden(&running, "update");
    let failed = json!({"status": "Failed", "exitCode": 1});
    assert_hidden(&master.report(&claimed, "w", failed).await, "update");
    assert_hidden(&master.bare("POST", &format!("/api/job/{id}/cancel")).await, "cancel");
    assert_hidden(&master.bare("POST", &format!("/api/job/{id}/retry")).await, "retry");
    assert!(hides(&master.on_disk()), "the database holds it in clear");

    // A retry gets them again, also for a claim with a bare name.
    let again = master.post("/api/job/claim", json!("curl")).await;
    assert_eq!(again.json()["secrets"], json!({"TOKEN": VALUE}));
    let ended = json!({"id": id, "status": "Completed", "assignedWorker": "curl", "output": ""});
    assert_hidden(&master.post("/api/job/update", ended).await, "update by name");
    assert!(hides(&master.on_disk()), "the database holds it in clear");
}

#[tokio::test]
async fn a_claim_that_is_repeated_is_told_them_again() {
    let master = Master::start().await;
    master.submit(spec()).await;
    let claim = json!({"worker": "w", "requestId": "r"});
    let first = master.post("/api/job/claim", claim.clone()).await;
    assert_eq!(first.json()[0]["job"]["secrets"], json!({"TOKEN": VALUE}));
    let second = master.post("/api/job/claim", claim).await;
    assert_eq!(second.json()[0]["lease"]["token"], first.json()[0]["lease"]["token"]);
    assert_eq!(second.json()[0]["job"]["secrets"], json!({"TOKEN": VALUE}));
}

#[tokio::test]
async fn without_their_key_the_job_ends_and_says_why() {
    let master = Master::start().await;
    let id = master.submit(spec()).await;
    let plain = master.submit(json!({"command": "true"})).await;

    let (service, claims) = master.restarted_with(&[8; 32]);
    let mut tasks = JoinSet::new();
    tasks.spawn(service::dispatch(service.clone(), claims));
    let terms = serde_json::from_value(json!({"worker": "w", "slots": 2})).unwrap();
    let claimed = service.claim(terms).await.unwrap();
    let ids: Vec<_> = claimed.iter().map(|claimed| claimed.job.id.0).collect();
    assert_eq!(ids, [plain], "a job without secrets runs");

    let ended = master.job(id).await;
    assert_eq!((&ended["status"], &ended["retryCount"]), (&json!("Failed"), &json!(0)));
    let reason = ended["reason"].as_str().unwrap();
    assert!(reason.starts_with("refused: its secrets cannot be opened"), "{reason}");

    // With the key restored, the sealed secrets can be opened again.
    let retried = master.bare("POST", &format!("/api/job/{id}/retry")).await;
    assert_eq!(retried.status, 200, "{retried:?}");
    let claimed = master.claim("w").await.unwrap();
    assert_eq!(claimed.job.spec.secrets["TOKEN"].expose(), VALUE);
}

#[tokio::test]
async fn no_refusal_quotes_them() {
    let master = Master::start().await;
    let wrong = [
        json!({"command": "true", "secrets": {"TOKEN": "short%%"}}),
        json!({"command": "true", "secrets": {"1": VALUE}}),
        json!({"command": "true", "secrets": {"A": VALUE}, "env": {"A": "b"}}),
        json!({"command": "", "secrets": {"A": VALUE}}),
        json!({"command": "true", "secrets": [VALUE]}),
        json!({"command": "true", "secrets": VALUE}),
        json!({"command": "true", "secrets": {"A": [VALUE]}}),
        json!({"command": "true", "secrets": {"A": 424_242}}),
        json!({"command": "true", "secrets": {"A": VALUE}, "unknown": 1}),
        json!({"command": ["true"], "secrets": {"A": VALUE}}),
    ];
    for spec in wrong {
        let reply = master.post("/api/job", spec.clone()).await;
        assert_eq!(reply.status, 422, "{spec}: {reply:?}");
        assert_hidden(&reply, "a refusal");
        assert!(!reply.text().contains("424") && !reply.text().contains("%%"), "{reply:?}");
    }
    let cut = format!(r#"{{"command": "true", "secrets": {{"A": "{VALUE}"#);
    let reply = request("POST", "/api/job").header("content-type", "application/json");
    let reply = master.send(reply.body(Body::from(cut)).unwrap()).await;
    assert_eq!(reply.status, 400, "{reply:?}");
    assert_hidden(&reply, "half a body");
}
