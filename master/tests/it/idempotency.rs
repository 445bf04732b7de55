//! `Idempotency-Key`: a repeated submission returns the same job.

use axum::body::Body;
use futures::future::join_all;
use orchestra_contracts::{IdempotencyKey, Role, Span};
use serde_json::{Value, json};

use crate::{
    access::issue,
    harness::{Master, Reply, request},
};

pub(crate) async fn submit(master: &Master, key: &str, spec: &Value) -> Reply {
    let request = request("POST", "/api/job")
        .header("content-type", "application/json")
        .header(IdempotencyKey::HEADER, key);
    master.send(request.body(Body::from(spec.to_string())).unwrap()).await
}

fn spec() -> Value {
    json!({"command": "deploy", "secrets": {"TOKEN": "hunter2hunter2"}})
}

#[tokio::test]
async fn the_same_key_and_body_is_the_same_job() {
    let master = Master::start().await;
    let first = submit(&master, "a", &spec()).await;
    assert_eq!((first.status.as_u16(), first.header("idempotent-replayed")), (201, ""));
    let again = submit(&master, "\"a\"", &spec()).await;
    assert_eq!((again.status.as_u16(), again.header("idempotent-replayed")), (201, "true"));
    assert_eq!((again.header("location"), again.json()), ("/api/job/1", first.json()));
    assert_eq!(submit(&master, "b", &spec()).await.json()["id"], 2);
}

/// The answer shows the job's current state, and a restart of the master forgets no key.
#[tokio::test]
async fn the_answer_tells_of_the_job_as_it_is() {
    let master = Master::start().await;
    submit(&master, "a", &spec()).await;
    let claimed = master.claim("w").await.unwrap();
    let end = json!({"status": "Completed", "exitCode": 0});
    assert_eq!(master.report(&claimed, "w", end).await.status, 200);
    assert_eq!(submit(&master, "a", &spec()).await.json()["status"], "Completed");
    let key = "a".parse().unwrap();
    let caller = orchestra_master::service::Caller::anyone();
    let spec = serde_json::from_value(spec()).unwrap();
    let restarted = master.restarted().submit(spec, &caller, Some(key), None).await.unwrap();
    assert!(restarted.replayed && restarted.jobs[0].id == claimed.job.id, "{restarted:?}");
}

#[tokio::test]
async fn fifty_at_once_are_one_job() {
    let master = Master::start().await;
    let spec = spec();
    let replies = join_all((0..50).map(|_| submit(&master, "a", &spec))).await;
    let new = replies.iter().filter(|reply| reply.header("idempotent-replayed").is_empty());
    assert_eq!(new.count(), 1);
    assert!(replies.iter().all(|reply| reply.status == 201 && reply.json()["id"] == 1));
    assert_eq!(master.get("/api/job").await.json().as_array().unwrap().len(), 1);
}

/// Even if only a secret differs. No hash of the secret is stored that could be guessed offline.
#[tokio::test]
async fn the_same_key_for_another_body_is_refused() {
    let master = Master::start().await;
    submit(&master, "a", &spec()).await;
    for (pointer, value) in [
        ("command", json!("destroy")),
        ("maxRetries", json!(1)),
        ("secrets", json!({"TOKEN": "hunter3hunter3"})),
    ] {
        let mut other = spec();
        other[pointer] = value;
        let refused = submit(&master, "a", &other).await;
        let problem = (refused.status.as_u16(), refused.problem());
        assert_eq!(problem, (422, "idempotency-mismatch".to_owned()), "{pointer}");
    }
}

#[tokio::test]
async fn a_deleted_job_does_not_come_back() {
    let master = Master::start().await;
    submit(&master, "a", &spec()).await;
    assert_eq!(master.bare("DELETE", "/api/job/1").await.status, 204);
    let refused = submit(&master, "a", &spec()).await;
    assert_eq!((refused.status.as_u16(), refused.problem()), (409, "illegal-step".to_owned()));
    master.clock.advance(Span::from_secs(24 * 60 * 60));
    assert_eq!(submit(&master, "a", &spec()).await.json()["id"], 2);
}

#[tokio::test]
async fn one_clients_key_says_nothing_to_another() {
    let master = Master::with_tokens().await;
    for (name, id) in [("laptop", 1), ("server", 2)] {
        let token = issue(&master, Role::Client, None).await.token;
        let request = request("POST", "/api/job")
            .header("authorization", format!("Bearer {}", token.as_str()))
            .header("content-type", "application/json")
            .header(IdempotencyKey::HEADER, "a");
        let reply = master.send(request.body(Body::from(spec().to_string())).unwrap()).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["id"]), (201, &json!(id)), "{name}");
    }
}
