//! A database that fails, stalls or loses its answers: acknowledged changes hold, and no lease expires
//! because of it.

use orchestra_contracts::{
    IdempotencyKey, Job, JobStatus, Span,
    worker::{Claimed, LogHead},
};
use serde_json::{Value, json};

use crate::{
    faulty::{Fault, Plan},
    harness::{LEASE, Master, Reply, encode, out, request, soon},
};

/// Repeats a request that was answered with 503, as a client should. The database causes no other
/// error status.
async fn persistent(mut send: impl AsyncFnMut() -> Reply) -> Reply {
    for _ in 0..3 {
        let reply = send().await;
        if reply.status != 503 {
            assert!(!reply.status.is_server_error(), "{reply:?}");
            return reply;
        }
        assert_eq!(reply.problem(), "unavailable");
        assert!(!reply.header("retry-after").is_empty(), "{reply:?}");
    }
    panic!("one fault is answered with one refusal");
}

/// Acts as a client and a worker, repeating each call until it is answered. The log has two pieces.
async fn walk_through(master: &Master) {
    let submitted = persistent(async || {
        let request = request("POST", "/api/job")
            .header("content-type", "application/json")
            .header(IdempotencyKey::HEADER, "one-wish");
        master.send(request.body(r#"{"command": "x"}"#.into()).unwrap()).await
    });
    assert_eq!(submitted.await.status, 201);
    let mut claimed = Vec::new();
    for round in 0..3 {
        let terms = json!({"worker": "w", "requestId": format!("request {round}")});
        let reply = persistent(async || master.post("/api/job/claim", terms.clone()).await).await;
        if reply.status == 204 {
            break;
        }
        claimed.extend(reply.read::<Vec<Claimed>>());
    }
    for one in &claimed {
        let started =
            persistent(async || master.report(one, "w", json!({"status": "Running"})).await);
        assert_eq!(started.await.status, 200);
        let lease = json!({"job": one.job.id, "attempt": 1, "token": one.lease.token});
        let beat = json!({"leases": [lease]});
        let renewed =
            persistent(async || master.post("/api/worker/w/heartbeat", beat.clone()).await);
        assert_eq!(renewed.await.json()["lost"], json!([]));
        let mut head = LogHead::default();
        for piece in ["first\n", "second\n"] {
            let frames = encode(&[out(piece)]);
            let from = head.offset;
            let stored =
                persistent(async || master.upload(one, "w", from, frames.clone()).await).await;
            assert_eq!(stored.status, 200, "{stored:?}");
            head = stored.read();
        }
        let log = json!({"offset": head.offset, "crc32": head.crc32});
        let end = json!({"status": "Completed", "exitCode": 0, "log": log});
        let ended = persistent(async || master.report(one, "w", end.clone()).await).await;
        assert_eq!(ended.status, 200, "{ended:?}");
    }
}

/// No job is lost, duplicated or without its result, whichever operation failed.
async fn check(master: &Master) {
    let jobs: Vec<Job> = master.get("/api/job").await.read();
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    for job in jobs {
        let id = job.id;
        assert_eq!((job.status, job.retry_count), (JobStatus::Completed, 0), "{job:?}");
        assert_eq!(job.output, "first\nsecond\n");
        assert_eq!(master.get(&format!("/api/job/{id}/log")).await.text(), job.output);
        let attempts: Value = master.get(&format!("/api/job/{id}/attempts")).await.json();
        assert_eq!(attempts.as_array().unwrap().len(), 1, "{attempts}");
        let late =
            json!({"id": id, "assignedWorker": "w", "leaseToken": "old", "status": "Failed"});
        let refused = master.post("/api/job/update", late).await;
        assert_eq!(refused.problem(), "lease-lost");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_operation_fails_a_repeated_call_mends_it() {
    for fault in [Fault::Before, Fault::After] {
        let mut number = 1;
        loop {
            let master = Master::start().await;
            master.faults.plan(Plan::Once(number, fault));
            soon(walk_through(&master)).await;
            let operations = master.faults.operations();
            master.faults.plan(Plan::Nothing);
            check(&master).await;
            if operations < number {
                break;
            }
            number += 1;
        }
        assert!(number > 8, "only {number} operations were tried");
    }
}

#[tokio::test]
async fn a_lease_that_could_not_be_renewed_is_given_time() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "true"})).await;
    let lease = json!({"job": 1, "attempt": 1, "token": claimed.lease.token});
    let beat = async || {
        let beat = json!({"leases": [lease]});
        master.post("/api/worker/w/heartbeat", beat).await
    };
    master.clock.advance(LEASE);
    master.faults.plan(Plan::Writes);
    assert_eq!(beat().await.status, 503);
    assert_eq!(master.service.expire_leases().await.unwrap(), 0);
    master.faults.plan(Plan::Nothing);
    assert_eq!(
        master.service.expire_leases().await.unwrap(),
        0,
        "the worker had no chance to renew"
    );
    assert_eq!(beat().await.json()["lost"], json!([]));

    // A lost worker is still noticed one lease later.
    master.clock.advance(Span::from_secs(59));
    assert_eq!(master.service.expire_leases().await.unwrap(), 0);
    master.clock.advance(Span::from_secs(1));
    assert_eq!(master.service.expire_leases().await.unwrap(), 1);
}

/// Reads do not wait for the disk. A heartbeat counts from its arrival, so one that arrives before the
/// lease ends renews it.
#[tokio::test]
async fn a_slow_commit_costs_no_lease_and_no_read() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "true"})).await;
    master.stored(&claimed, &[out("hello")], 0).await;
    let lease = json!({"job": 1, "attempt": 1, "token": claimed.lease.token});
    let beat = json!({"leases": [lease]});
    master.faults.stall(true);
    master.clock.advance(Span::from_secs(50));
    let beating = master.post("/api/worker/w/heartbeat", beat);
    let submitting = master.post("/api/job", json!({"command": "true"}));
    let meanwhile = async {
        // Both calls are waiting for the disk now.
        for _ in 0..100 {
            assert_eq!(master.job(1).await["status"], "Running");
            assert_eq!(master.get("/api/job/1/log").await.text(), "hello");
        }
        master.clock.advance(Span::from_secs(9));
        master.faults.stall(false);
    };
    let all = Box::pin(async { tokio::join!(beating, submitting, meanwhile) });
    let (beaten, submitted, ()) = soon(all).await;
    assert_eq!(beaten.json()["lost"], json!([]));
    assert_eq!(submitted.status, 201);
    master.clock.advance(Span::from_secs(40));
    assert_eq!(master.service.expire_leases().await.unwrap(), 0);
    assert_eq!(master.job(1).await["status"], "Running");
}

/// A failed call is answered at once: the caller decides when to retry.
#[tokio::test]
async fn a_database_that_fails_is_not_asked_again_and_again() {
    const CALLS: usize = 20;
    let master = Master::start().await;
    // The first claim ever also loads the workers' offers.
    assert!(master.claim("w").await.is_none());
    let before = master.faults.operations();
    master.faults.plan(Plan::Writes);
    for _ in 0..CALLS {
        let terms = json!({"worker": "w", "queues": ["none"], "wait": "10s"});
        assert_eq!(master.post("/api/job/claim", terms).await.problem(), "unavailable");
    }
    assert_eq!(master.faults.operations(), before + CALLS);
}
