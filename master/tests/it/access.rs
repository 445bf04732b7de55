//! Access to every route by every role. A route without a row here fails the test.

use std::collections::BTreeSet;

use axum::{body::Body, http::Method};
use orchestra_contracts::{IssuedToken, NewToken, Role, Token};
use orchestra_master::http;
use serde_json::{Value, json};

use crate::harness::{Master, Reply, request};

/// Method, path, and whether it is allowed: without a token, as client, as worker, as admin.
type Row = (&'static str, &'static str, [bool; 4]);

const ANYONE: [bool; 4] = [true, true, true, true];
const ANY_ROLE: [bool; 4] = [false, true, true, true];
const CLIENT: [bool; 4] = [false, true, false, true];
const WORKER: [bool; 4] = [false, false, true, true];
const ADMIN: [bool; 4] = [false, false, false, true];

const TABLE: &[Row] = &[
    ("POST", "/api/job", CLIENT),
    ("GET", "/api/job", CLIENT),
    ("GET", "/api/job/pending", CLIENT),
    ("GET", "/api/job/{id}", CLIENT),
    ("DELETE", "/api/job/{id}", CLIENT),
    ("POST", "/api/job/{id}/cancel", CLIENT),
    ("POST", "/api/job/{id}/retry", CLIENT),
    ("GET", "/api/job/{id}/explain", CLIENT),
    ("GET", "/api/job/{id}/log", CLIENT),
    ("GET", "/api/job/{id}/repro", CLIENT),
    ("GET", "/api/job/{id}/attempts", CLIENT),
    ("POST", "/api/job/{id}/attempts/{attempt}/artifacts", WORKER),
    ("GET", "/api/job/{id}/artifacts", CLIENT),
    ("GET", "/api/job/{id}/artifacts/{*path}", CLIENT),
    ("GET", "/api/job/{id}/changes", CLIENT),
    ("PUT", "/api/upload/{sha256}", CLIENT),
    ("GET", "/api/upload/{sha256}", ANY_ROLE),
    ("GET", "/api/queue", CLIENT),
    ("PATCH", "/api/queue/{name}", ADMIN),
    ("POST", "/api/schedule", CLIENT),
    ("GET", "/api/schedule", CLIENT),
    ("GET", "/api/schedule/{name}", CLIENT),
    ("PATCH", "/api/schedule/{name}", CLIENT),
    ("DELETE", "/api/schedule/{name}", CLIENT),
    ("GET", "/api/worker", CLIENT),
    ("POST", "/api/worker/{name}/drain", ADMIN),
    ("DELETE", "/api/worker/{name}/drain", ADMIN),
    ("PUT", "/api/worker/{name}", WORKER),
    ("POST", "/api/worker/{name}/heartbeat", WORKER),
    ("GET", "/api/worker/{name}/orders", WORKER),
    ("POST", "/api/job/claim", WORKER),
    ("POST", "/api/job/update", WORKER),
    ("GET", "/api/job/{id}/attempts/{attempt}/log", ANY_ROLE),
    ("POST", "/api/job/{id}/attempts/{attempt}/log", WORKER),
    ("POST", "/api/token", ADMIN),
    ("GET", "/api/token", ADMIN),
    ("DELETE", "/api/token/{id}", ADMIN),
    ("POST", "/api/webhook", ADMIN),
    ("GET", "/api/webhook", ADMIN),
    ("GET", "/api/webhook/{id}", ADMIN),
    ("DELETE", "/api/webhook/{id}", ADMIN),
    ("GET", "/api/webhook/{id}/deliveries", ADMIN),
    ("POST", "/api/webhook/{id}/deliveries/{delivery}/retry", ADMIN),
    ("GET", "/healthz", ANYONE),
    ("GET", "/readyz", ANYONE),
    ("GET", "/openapi.json", ANYONE),
    ("GET", "/metrics", CLIENT),
];

pub(crate) async fn issue(master: &Master, role: Role, worker: Option<&str>) -> IssuedToken {
    let worker = worker.map(|name| name.parse().unwrap());
    master.service.issue_token(NewToken { role, name: None, worker }).await.unwrap()
}

/// Sends a request that the handler refuses if it gets that far: job 99 does not exist, and no
/// handler accepts an empty body as JSON.
async fn ask(master: &Master, method: &str, path: &str, token: Option<&Token>) -> Reply {
    let path = path
        .replace("{id}", "99")
        .replace("{attempt}", "1")
        .replace("{*path}", "a/b")
        .replace("{sha256}", &"ab".repeat(32))
        .replace("{name}", "w")
        .replace("{delivery}", "1");
    let mut request = request(method, &path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {}", token.as_str()));
    }
    master.send(request.body(Body::empty()).unwrap()).await
}

fn is_let_in(reply: &Reply) -> bool {
    !matches!(reply.status.as_u16(), 401 | 403)
}

#[test]
fn every_route_has_its_row_and_every_row_its_route() {
    let routes = http::routes();
    let routes: BTreeSet<_> =
        routes.iter().map(|(method, path, _)| (method.as_str(), *path)).collect();
    let rows: BTreeSet<_> = TABLE.iter().map(|(method, path, _)| (*method, *path)).collect();
    assert_eq!(routes, rows);
    assert_eq!(http::routes().len(), TABLE.len(), "a route is listed twice");
}

#[tokio::test]
async fn every_route_lets_in_whom_it_is_for_and_nobody_else() {
    let master = Master::with_tokens().await;
    let mut tokens = vec![None];
    for role in Role::ALL {
        tokens.push(Some(issue(&master, role, None).await.token));
    }
    for (method, path, expected) in TABLE {
        for (token, expected) in tokens.iter().zip(expected) {
            let reply = ask(&master, method, path, token.as_ref()).await;
            assert_eq!(is_let_in(&reply), *expected, "{method} {path}: {reply:?}");
            if !expected {
                let (status, kind) = match token {
                    None => (401, "unauthenticated"),
                    Some(_) => (403, "forbidden"),
                };
                assert_eq!((reply.status.as_u16(), reply.problem().as_str()), (status, kind));
                assert!(reply.json()["hint"].is_string(), "{reply:?}");
            }
        }
    }
}

#[tokio::test]
async fn head_is_guarded_like_get() {
    let master = Master::with_tokens().await;
    for (method, path, [anyone, ..]) in TABLE {
        if *method == "GET" {
            let reply = ask(&master, "HEAD", path, None).await;
            assert_eq!(is_let_in(&reply), *anyone, "HEAD {path}: {reply:?}");
        }
    }
}

/// The calls that carry a worker's name, sent as worker `w2`.
fn as_w2() -> Vec<(Method, &'static str, &'static str, Value)> {
    let registration = json!({"slots": 1, "queues": ["default"], "version": "0"});
    let json = "application/json";
    vec![
        (Method::PUT, "/api/worker/w2", json, registration),
        (Method::POST, "/api/worker/w2/heartbeat", json, json!({"leases": []})),
        (Method::GET, "/api/worker/w2/orders", json, Value::Null),
        (Method::POST, "/api/job/claim", json, json!("w2")),
        (Method::POST, "/api/job/claim", json, json!({"worker": "w2"})),
        (
            Method::POST,
            "/api/job/update",
            json,
            json!({"id": 1, "status": "Running", "assignedWorker": "w2"}),
        ),
        (
            Method::POST,
            "/api/job/1/attempts/1/log?offset=0&worker=w2",
            "application/octet-stream",
            Value::Null,
        ),
        (
            Method::POST,
            "/api/job/1/attempts/1/artifacts?path=a&offset=0&worker=w2",
            "application/octet-stream",
            Value::Null,
        ),
    ]
}

async fn speak_as_w2(master: &Master, token: &Token) -> Vec<u16> {
    let mut statuses = Vec::new();
    for (method, path, kind, body) in as_w2() {
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let request = request(method.as_str(), path)
            .header("authorization", format!("Bearer {}", token.as_str()))
            .header("content-type", kind);
        statuses.push(master.send(request.body(body).unwrap()).await.status.as_u16());
    }
    statuses
}

#[tokio::test]
async fn a_token_for_one_worker_speaks_for_no_other() {
    let master = Master::with_tokens().await;
    let of = async |worker| issue(&master, Role::Worker, worker).await;
    let w1 = of(Some("w1")).await;
    assert_eq!(speak_as_w2(&master, &w1.token).await, [403; 8]);

    let anybody = of(None).await;
    let let_in = [200, 200, 200, 204, 204, 404, 404, 404];
    assert_eq!(speak_as_w2(&master, &anybody.token).await, let_in);
    let w2 = of(Some("w2")).await;
    assert_eq!(speak_as_w2(&master, &anybody.token).await, [403; 8], "the name is taken now");
    assert_eq!(speak_as_w2(&master, &w2.token).await, let_in);
    assert_eq!(speak_as_w2(&master, &issue(&master, Role::Admin, None).await.token).await, let_in);
    master.service.revoke_token(w2.info.id).await.unwrap();
    assert_eq!(speak_as_w2(&master, &anybody.token).await, let_in, "the name is free again");
}
