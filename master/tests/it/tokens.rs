//! Tokens are issued, listed and revoked. Revocation ends requests in progress.

use axum::body::Body;
use orchestra_contracts::{Role, Token};
use serde_json::{Value, json};

use crate::{
    access::issue,
    harness::{Master, Open, Reply, out, request, soon},
};

async fn send(master: &Master, token: &Token, method: &str, path: &str, body: Value) -> Reply {
    let request = request(method, path)
        .header("authorization", format!("Bearer {}", token.as_str()))
        .header("content-type", "application/json");
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    master.send(request.body(body).unwrap()).await
}

#[tokio::test]
async fn a_token_is_shown_once_and_never_listed() {
    let master = Master::with_tokens().await;
    let admin = issue(&master, Role::Admin, None).await.token;
    let wanted = json!({"role": "worker", "name": "laptop", "worker": "w1"});
    let reply = send(&master, &admin, "POST", "/api/token", wanted).await;
    assert_eq!((reply.status.as_u16(), reply.header("cache-control")), (201, "no-store"));
    let issued = reply.json();
    let token = Token::new(issued["token"].as_str().unwrap());
    assert!(token.is_well_formed());
    let listed = send(&master, &admin, "GET", "/api/token", Value::Null).await;
    assert!(!listed.text().contains(token.as_str()));
    let info = json!({
        "id": 2, "role": "worker", "name": "laptop", "worker": "w1",
        "createdAt": "2026-01-02T03:04:05Z", "revokedAt": null
    });
    assert_eq!(listed.json()[1], info);
    assert_eq!(send(&master, &token, "POST", "/api/job/claim", json!("w1")).await.status, 204);
}

#[tokio::test]
async fn a_revoked_token_stays_out_also_after_a_restart() {
    let master = Master::with_tokens().await;
    let admin = issue(&master, Role::Admin, None).await.token;
    let client = issue(&master, Role::Client, None).await;
    assert_eq!(send(&master, &client.token, "GET", "/api/job", Value::Null).await.status, 200);
    let path = format!("/api/token/{}", client.info.id);
    let revoked = send(&master, &admin, "DELETE", &path, Value::Null).await;
    assert_eq!(revoked.json()["revokedAt"], "2026-01-02T03:04:05Z");
    master.clock.advance(orchestra_contracts::Span::from_secs(9));
    let again = send(&master, &admin, "DELETE", &path, Value::Null).await;
    assert_eq!((again.status.as_u16(), again.json()), (200, revoked.json()));
    let reply = send(&master, &client.token, "GET", "/api/job", Value::Null).await;
    assert_eq!(reply.problem(), "unauthenticated");

    let restarted = master.restarted();
    assert_eq!(restarted.load_tokens().await.unwrap(), 1);
    assert!(restarted.holder(&client.token).is_none());
    assert!(restarted.holder(&admin).is_some());
}

#[tokio::test]
async fn what_is_no_token_s_number_or_wish_is_refused() {
    let master = Master::with_tokens().await;
    let admin = issue(&master, Role::Admin, None).await.token;
    for (body, pointer) in [
        (json!({}), "/role"),
        (json!({"role": "root"}), "/role"),
        (json!({"role": "client", "name": ""}), "/name"),
        (json!({"role": "client", "name": "(file)"}), "/name"),
        (json!({"role": "client", "name": "x".repeat(65)}), "/name"),
        (json!({"role": "client", "worker": "w"}), "/worker"),
        (json!({"role": "worker", "worker": "a b"}), "/worker"),
        (json!({"role": "client", "token": "mine"}), "/token"),
    ] {
        let reply = send(&master, &admin, "POST", "/api/token", body.clone()).await;
        assert_eq!(reply.problem(), "invalid", "{body}");
        assert_eq!(reply.json()["errors"][0]["pointer"], pointer, "{body}");
    }
    for (path, kind) in [("/api/token/9", "not-found"), ("/api/token/x", "bad-parameter")] {
        assert_eq!(send(&master, &admin, "DELETE", path, Value::Null).await.problem(), kind);
    }
    assert_eq!(master.service.tokens().await.unwrap().len(), 1, "no other was made");
}

/// A master with a claimed job that has output, and the token of a client that may follow it.
async fn watched() -> (Master, orchestra_contracts::IssuedToken) {
    let master = Master::with_tokens().await;
    let client = issue(&master, Role::Client, None).await;
    let worker = issue(&master, Role::Worker, None).await.token;
    let spec = json!({"command": "true"});
    assert_eq!(send(&master, &client.token, "POST", "/api/job", spec).await.status, 201);
    let claim = send(&master, &worker, "POST", "/api/job/claim", json!("w")).await;
    assert_eq!(claim.status, 200);
    let path = "/api/job/1/attempts/1/log?offset=0&worker=w";
    let upload = request("POST", path)
        .header("authorization", format!("Bearer {}", worker.as_str()))
        .header("content-type", "application/octet-stream");
    let frames = crate::harness::encode(&[out("first words\n")]);
    assert_eq!(master.send(upload.body(Body::from(frames)).unwrap()).await.status, 200);
    (master, client)
}

#[tokio::test]
async fn streams_break_off_when_their_token_is_revoked() {
    for (path, accept) in
        [("/api/job/1/log?follow=true", "text/plain"), ("/api/job/1/log", "text/event-stream")]
    {
        let (master, client) = watched().await;
        let request = request("GET", path)
            .header("authorization", format!("Bearer {}", client.token.as_str()))
            .header("accept", accept);
        let mut stream = Open::new(master.open(request.body(Body::empty()).unwrap()).await);
        // One format sends output as plain text, the other in events.
        stream.until(if accept == "text/plain" { "first words\n" } else { "event: log" }).await;
        master.service.revoke_token(client.info.id).await.unwrap();
        let said = stream.end().await.expect_err("the stream is cut off without an end");
        assert!(!said.contains("event: end"), "{said}");
    }
}

#[tokio::test]
async fn long_polls_end_when_their_token_is_revoked() {
    let (master, client) = watched().await;
    let worker = issue(&master, Role::Worker, None).await;
    let begun = tokio::time::Instant::now();
    let terms = json!({"worker": "w", "wait": "5m"});
    let (waited, claimed, ()) = tokio::join!(
        send(&master, &client.token, "GET", "/api/job/1?wait=5m", Value::Null),
        send(&master, &worker.token, "POST", "/api/job/claim", terms),
        async {
            tokio::task::yield_now().await;
            for token in [&client, &worker] {
                soon(master.service.revoke_token(token.info.id)).await.unwrap();
            }
        }
    );
    assert_eq!(
        (waited.problem(), claimed.problem()),
        ("unauthenticated".into(), "unauthenticated".into())
    );
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn other_tokens_go_on() {
    let (master, client) = watched().await;
    let other = issue(&master, Role::Client, None).await;
    let request = request("GET", "/api/job/1/log?follow=true")
        .header("authorization", format!("Bearer {}", other.token.as_str()));
    let mut stream = Open::new(master.open(request.body(Body::empty()).unwrap()).await);
    stream.until("first words\n").await;
    master.service.revoke_token(client.info.id).await.unwrap();
    let wait = send(&master, &other.token, "GET", "/api/job/1?wait=50ms", Value::Null).await;
    assert_eq!(wait.json()["status"], "Assigned");
    let cancel = send(&master, &other.token, "POST", "/api/job/1/cancel", Value::Null).await;
    assert_eq!(cancel.status, 202);
    let worker = issue(&master, Role::Worker, None).await.token;
    let update = json!({"id": 1, "status": "Completed", "assignedWorker": "w"});
    assert_eq!(send(&master, &worker, "POST", "/api/job/update", update).await.status, 200);
    assert_eq!(stream.end().await.expect("it ends well"), "first words\n");
}
