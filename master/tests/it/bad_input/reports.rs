//! Workers' requests: claims, reports, registrations, heartbeats.

use axum::body::Body;
use serde_json::json;

use super::{CLAIM, JSON, Row, UPDATE, ask, check, invalid, post, refused};
use crate::harness::{Master, request};

const WORKER: &str = "/api/worker/w";
const HEARTBEAT: &str = "/api/worker/w/heartbeat";
const TOKEN: &str = "/api/token";

/// A registration with this offer.
macro_rules! offering {
    ($offer:literal) => {
        concat!(r#"{"slots": 1, "queues": ["q"], "version": "1", "offer": "#, $offer, "}")
    };
}

/// An upload of an artifact piece for job 1, which nobody holds.
macro_rules! piece {
    ($query:literal, $status:literal, $kind:literal) => {
        ask("POST", concat!("/api/job/1/attempts/1/artifacts?", $query), $status, $kind)
            .with(&[("content-type", "application/octet-stream")])
    };
}

/// The report of an end with these artifacts.
macro_rules! left {
    ($artifacts:literal, $pointer:literal) => {
        invalid(
            UPDATE,
            concat!(
                r#"{"id": 1, "status": "Completed", "assignedWorker": "w", "artifacts": "#,
                $artifacts,
                "}"
            ),
            $pointer,
        )
    };
}

/// The report of an end with this additional field.
macro_rules! along {
    ($more:literal, $pointer:literal) => {
        invalid(
            UPDATE,
            concat!(r#"{"id": 1, "status": "Completed", "assignedWorker": "w", "#, $more, "}"),
            $pointer,
        )
    };
}

/// The report of an end with these file changes.
macro_rules! changed {
    ($changes:literal) => {
        concat!(
            r#"{"id": 1, "status": "Completed", "assignedWorker": "w", "changes": "#,
            $changes,
            "}"
        )
    };
}

pub(super) const ROWS: &[Row] = &[
    invalid(CLAIM, r#""""#, ""),
    invalid(CLAIM, r#""a b""#, ""),
    invalid(CLAIM, "7", ""),
    invalid(CLAIM, "{}", "/worker"),
    invalid(CLAIM, r#"{"worker": "w", "slots": 0}"#, "/slots"),
    invalid(CLAIM, r#"{"worker": "w", "slots": -1}"#, "/slots"),
    invalid(CLAIM, r#"{"worker": "w", "slots": 1000000}"#, "/slots"),
    invalid(CLAIM, r#"{"worker": "w", "queues": []}"#, "/queues"),
    invalid(CLAIM, r#"{"worker": "w", "wait": "x"}"#, "/wait"),
    invalid(CLAIM, r#"{"worker": "w", "slot": 1}"#, "/slot"),
    invalid(UPDATE, r#"{"id": 1, "status": "Running"}"#, "/assignedWorker"),
    invalid(UPDATE, r#"{"id": "1", "status": 2, "assignedWorker": "w"}"#, "/id"),
    invalid(UPDATE, r#"{"id": 1, "status": 7, "assignedWorker": "w"}"#, "/status"),
    invalid(UPDATE, r#"{"id": 1, "status": "Done", "assignedWorker": "w"}"#, "/status"),
    post(UPDATE, r#"{"id": 1, "status": 1, "assignedWorker": "w"}"#, 409, "illegal-step"),
    post(UPDATE, r#"{"id": 1, "status": "Cancelled", "assignedWorker": "w"}"#, 409, "illegal-step"),
    post(UPDATE, r#"{"id": 1, "status": 2, "assignedWorker": "w"}"#, 409, "lease-lost"),
    post(UPDATE, r#"{"id": 1, "status": 3, "assignedWorker": "w"}"#, 409, "lease-lost"),
    post(UPDATE, r#"{"id": 99, "status": 2, "assignedWorker": "w"}"#, 404, "not-found"),
    post(UPDATE, r#"{"id": -1, "status": 3, "assignedWorker": "w"}"#, 404, "not-found"),
    invalid(
        UPDATE,
        r#"{"id": 1, "status": 3, "assignedWorker": "w", "exitCode": "0"}"#,
        "/exitCode",
    ),
    invalid(
        UPDATE,
        r#"{"id": 1, "status": 3, "assignedWorker": "w", "exitCode": 1099511627776}"#,
        "/exitCode",
    ),
    invalid(CLAIM, r#""../x""#, ""),
    invalid(CLAIM, r#""a\u0000b""#, ""),
    invalid(CLAIM, r#""caf\u00e9""#, ""),
    invalid(CLAIM, "null", ""),
    invalid(CLAIM, "[]", ""),
    invalid(CLAIM, r#"{"worker": ""}"#, "/worker"),
    invalid(CLAIM, r#"{"worker": "w", "slots": "1"}"#, "/slots"),
    invalid(CLAIM, r#"{"worker": "w", "wait": -1}"#, "/wait"),
    invalid(CLAIM, r#"{"worker": "w", "queues": "default"}"#, "/queues"),
    invalid(UPDATE, "{}", "/id"),
    invalid(UPDATE, "[]", ""),
    invalid(UPDATE, "[7]", "/0"),
    invalid(UPDATE, r#"[{"id": 1, "status": 2, "assignedWorker": "w"}, {"id": 1}]"#, "/1/status"),
    invalid(UPDATE, r#""w""#, ""),
    invalid(UPDATE, r#"{"id": 1, "status": "Running", "assignedWorker": ""}"#, "/assignedWorker"),
    invalid(UPDATE, r#"{"id": 1.5, "status": "Running", "assignedWorker": "w"}"#, "/id"),
    invalid(
        UPDATE,
        r#"{"id": 1, "status": "Completed", "assignedWorker": "w", "exitCode": 1e99}"#,
        "/exitCode",
    ),
    invalid(
        UPDATE,
        r#"{"id": 1, "status": "Running", "assignedWorker": "w", "attempt": -1}"#,
        "/attempt",
    ),
    invalid(
        UPDATE,
        r#"{"id": 1, "status": "Failed", "assignedWorker": "w", "outcome": {"kind": "new"}}"#,
        "/outcome/kind",
    ),
    post(
        UPDATE,
        r#"{"id": 1, "status": "Running", "assignedWorker": "w", "attempt": 1, "leaseToken": "x"}"#,
        409,
        "lease-lost",
    ),
    post(
        UPDATE,
        r#"{"id": 1, "status": "Completed", "assignedWorker": "w", "attempt": 4294967295}"#,
        409,
        "lease-lost",
    ),
    post(
        UPDATE,
        r#"{"id": 9223372036854775807, "status": "Running", "assignedWorker": "w"}"#,
        404,
        "not-found",
    ),
    piece!("path=a&offset=0&worker=w", 409, "lease-lost"),
    piece!("offset=0&worker=w", 400, "bad-parameter"),
    piece!("path=a&worker=w", 400, "bad-parameter"),
    piece!("path=a&offset=0", 400, "bad-parameter"),
    piece!("path=a&offset=-1&worker=w", 400, "bad-parameter"),
    piece!("path=a&offset=0&worker=a%20b", 400, "bad-parameter"),
    piece!("path=a&path=b&offset=0&worker=w", 400, "bad-parameter"),
    piece!("path=%ff&offset=0&worker=w", 400, "bad-parameter"),
    piece!("path=&offset=0&worker=w", 422, "invalid"),
    piece!("path=../a&offset=0&worker=w", 422, "invalid"),
    piece!("path=/etc/passwd&offset=0&worker=w", 422, "invalid"),
    piece!("path=a/%2e%2e/b&offset=0&worker=w", 422, "invalid"),
    piece!("path=a%00&offset=0&worker=w", 422, "invalid"),
    piece!("path=a%0Ab&offset=0&worker=w", 422, "invalid"),
    piece!("path=a/&offset=0&worker=w", 422, "invalid"),
    piece!("path=a&offset=0&worker=w&mode=755", 400, "bad-parameter"),
    post(
        "/api/job/1/attempts/1/artifacts?path=a&offset=0&worker=w",
        "{}",
        415,
        "unsupported-media-type",
    ),
    left!(
        r#"[{"path": "../a", "bytes": 0, "sha256": "00", "executable": false}]"#,
        "/artifacts/0/path"
    ),
    left!(
        r#"[{"path": "a", "bytes": 0, "sha256": "00", "executable": false}]"#,
        "/artifacts/0/sha256"
    ),
    left!(
        r#"[{"path": "a", "bytes": -1, "sha256": "00", "executable": false}]"#,
        "/artifacts/0/bytes"
    ),
    left!(r#"[{"path": "a", "bytes": 0, "executable": false}]"#, "/artifacts/0/sha256"),
    left!(r#"[{"path": "a"}]"#, "/artifacts/0/bytes"),
    left!(r#"{}"#, "/artifacts"),
    along!(r#""rest": 7"#, "/rest"),
    along!(r#""rest": "*""#, "/rest"),
    along!(r#""rest": "AAAA", "attempt": 1, "log": {"offset": 3, "crc32": 0}"#, "/rest"),
    along!(r#""rest": """#, "/rest"),
    along!(r#""rest": "", "attempt": 1"#, "/rest"),
    along!(r#""rest": "AQAAAAAAAAAAAAAAAA==", "log": {"offset": 13, "crc32": 0}"#, "/rest"),
    along!(
        r#""rest": "AQAAAAAAAAAAAAAAAA==", "attempt": 1, "log": {"offset": 12, "crc32": 0}"#,
        "/rest"
    ),
    along!(r#""claim": "w""#, "/claim"),
    along!(r#""claim": {"slots": 0}"#, "/claim/slots"),
    along!(r#""claim": {"slots": 257}"#, "/claim/slots"),
    along!(r#""claim": {"queues": []}"#, "/claim/queues"),
    invalid(
        UPDATE,
        r#"{"id": 1, "status": "Running", "assignedWorker": "w", "rest": ""}"#,
        "/rest",
    ),
    invalid(
        UPDATE,
        r#"{"id": 1, "status": "Running", "assignedWorker": "w", "claim": {}}"#,
        "/claim",
    ),
    invalid(
        UPDATE,
        r#"{"id": 1, "status": "Pending", "assignedWorker": "w", "claim": {}}"#,
        "/claim",
    ),
    invalid(UPDATE, changed!(r#"{"created": "a"}"#), "/changes/created"),
    invalid(UPDATE, changed!(r#"{"renamed": []}"#), "/changes/renamed"),
    invalid(UPDATE, changed!(r#"{"more": -1}"#), "/changes/more"),
    invalid(WORKER, "{}", "/slots").put(),
    invalid(WORKER, r#"{"slots": 0, "queues": ["q"], "version": "1"}"#, "/slots").put(),
    invalid(WORKER, r#"{"slots": 4097, "queues": ["q"], "version": "1"}"#, "/slots").put(),
    invalid(WORKER, r#"{"slots": 1, "queues": [], "version": "1"}"#, "/queues").put(),
    invalid(WORKER, r#"{"slots": 1, "queues": ["q"], "version": "1", "root": 1}"#, "/root").put(),
    invalid(WORKER, offering!(r#"{}"#), "/offer/cpus").put(),
    invalid(WORKER, offering!("[]"), "/offer").put(),
    invalid(WORKER, offering!(r#"{"cpus": -1, "memory": 1, "pids": 1, "tmp": 1}"#), "/offer/cpus")
        .put(),
    invalid(WORKER, offering!(r#"{"cpus": 0, "memory": 1, "pids": 1, "tmp": 1}"#), "/offer/cpus")
        .put(),
    invalid(
        WORKER,
        offering!(r#"{"cpus": "NaN", "memory": 1, "pids": 1, "tmp": 1}"#),
        "/offer/cpus",
    )
    .put(),
    invalid(
        WORKER,
        offering!(r#"{"cpus": null, "memory": 1, "pids": 1, "tmp": 1}"#),
        "/offer/cpus",
    )
    .put(),
    invalid(
        WORKER,
        offering!(r#"{"cpus": 1, "memory": -1, "pids": 1, "tmp": 1}"#),
        "/offer/memory",
    )
    .put(),
    invalid(
        WORKER,
        offering!(r#"{"cpus": 1, "memory": "1x", "pids": 1, "tmp": 1}"#),
        "/offer/memory",
    )
    .put(),
    invalid(WORKER, offering!(r#"{"cpus": 1, "memory": 1, "pids": -1, "tmp": 1}"#), "/offer/pids")
        .put(),
    invalid(
        WORKER,
        offering!(r#"{"cpus": 1, "memory": 1, "pids": 4294967296, "tmp": 1}"#),
        "/offer/pids",
    )
    .put(),
    invalid(WORKER, offering!(r#"{"cpus": 1, "memory": 1, "pids": 1, "tmp": -1}"#), "/offer/tmp")
        .put(),
    invalid(
        WORKER,
        offering!(r#"{"cpus": 1, "memory": 1, "pids": 1, "tmp": 1, "gpus": 1}"#),
        "/offer/gpus",
    )
    .put(),
    invalid(
        WORKER,
        offering!(r#"{"cpus": 1, "memory": 1, "pids": 1, "tmp": 1, "network": "host"}"#),
        "/offer/network",
    )
    .put(),
    invalid(
        WORKER,
        offering!(r#"{"cpus": 1, "memory": 1, "pids": 1, "tmp": 1, "images": "gcc"}"#),
        "/offer/images",
    )
    .put(),
    invalid(
        WORKER,
        offering!(r#"{"cpus": 1, "memory": 1, "pids": 1, "tmp": 1, "images": ["../x"]}"#),
        "/offer/images",
    )
    .put(),
    invalid(HEARTBEAT, "{}", "/leases"),
    invalid(HEARTBEAT, r#"{"leases": [{"job": 1}]}"#, "/leases/0/attempt"),
    invalid(HEARTBEAT, r#"{"leases": {}}"#, "/leases"),
    invalid(TOKEN, "{}", "/role"),
    invalid(TOKEN, r#"{"role": "root"}"#, "/role"),
    invalid(TOKEN, r#"{"role": "client", "worker": "a b"}"#, "/worker"),
    invalid(TOKEN, r#"{"role": "client", "admin": true}"#, "/admin"),
];

#[tokio::test]
async fn reports() {
    check(ROWS).await;
}

/// Too long to be written out as rows.
#[tokio::test]
async fn an_offer_is_bounded() {
    let master = Master::start().await;
    let register = async |images: usize, runtime: usize| {
        let images: Vec<_> = (0..images).map(|number| format!("image-{number}")).collect();
        let offer = json!({
            "cpus": 1, "memory": 1, "pids": 1, "tmp": 1, "images": images,
            "runtime": "x".repeat(runtime),
        });
        let of = json!({"slots": 1, "queues": ["q"], "version": "1", "offer": offer});
        let body = Body::from(of.to_string());
        let request = request("PUT", WORKER).header("content-type", JSON);
        master.send(request.body(body).unwrap()).await
    };
    for (images, runtime, pointer) in [(1025, 0, "/offer/images"), (0, 257, "/offer/runtime")] {
        let reply = register(images, runtime).await;
        refused(&reply, 422, "invalid", pointer);
        assert_eq!(reply.json()["errors"][0]["pointer"], pointer);
    }
    assert_eq!(master.get("/api/worker").await.json(), json!([]));
    assert_eq!(register(1024, 256).await.status, 200);
}
