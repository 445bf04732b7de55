//! Frozen examples of the wire format. A change that breaks one of these breaks programs that
//! people have written; add a new example instead.

use std::fmt::Debug;

use orchestra_contracts::{
    Job, JobId, JobSpec, NewToken, Outcome, Problem, Role, Schedule, TokenInfo,
    event::LogEvent,
    worker::{
        ClaimRequest, Claimed, Heartbeat, HeartbeatReply, JobUpdate, LogHead, Offer, Orders,
        Registration, Updated, Welcome, Worker,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// Reads the example, writes it again, and expects the same JSON.
fn frozen<T: Serialize + DeserializeOwned + Debug + PartialEq>(example: &Value) -> T {
    let read: T = serde_json::from_value(example.clone()).expect("the example is read");
    let written = serde_json::to_value(&read).expect("what was read can be written");
    assert_eq!(&written, example);
    read
}

fn job() -> Value {
    json!({
        "id": 7, "command": "make", "maxRetries": 2, "image": "gcc", "timeout": "10m", "queue": "default",
        "resources": {"cpus": 0.5, "memory": "512m"},
        "status": "Failed", "assignedWorker": "w1", "retryCount": 2, "attempt": 3,
        "output": "out\n", "error": "", "outputTruncated": false, "exitCode": 2,
        "outcome": {"kind": "exited", "code": 2}, "reason": "exited with code 2",
        "usage": {"cpuMs": 12, "peakMemory": 4096, "wallMs": 20},
        "createdAt": "2026-01-02T03:04:05.006Z", "startedAt": "2026-01-02T03:04:06Z",
        "finishedAt": "2026-01-02T03:04:07Z"
    })
}

#[test]
fn a_job_with_everything() {
    let job: Job = frozen(&job());
    assert_eq!(job.outcome, Some(Outcome::Exited { code: 2 }));
}

#[test]
fn a_job_that_was_just_submitted() {
    let job: Job = frozen(&json!({
        "id": 1, "command": "true", "maxRetries": 0, "queue": "default",
        "status": "Pending", "assignedWorker": null, "retryCount": 0, "attempt": null,
        "output": "", "error": "", "outputTruncated": false, "exitCode": null, "outcome": null, "reason": null,
        "usage": null, "createdAt": "2026-01-02T03:04:05Z", "startedAt": null, "finishedAt": null
    }));
    assert!(!job.cancelling);
}

#[test]
fn a_schedule() {
    frozen::<Schedule>(&json!({
        "name": "nightly", "cron": "0 3 * * *", "timeZone": "Europe/Berlin", "overlap": "skip",
        "catchUp": "1h", "spec": {"command": "make", "maxRetries": 0, "queue": "default"},
        "paused": true, "pausedSince": "2026-01-02T03:04:05Z",
        "nextTimes": ["2026-01-03T02:00:00Z"], "lastTime": "2026-01-02T02:00:00Z", "lastJob": 7,
        "skipped": 1, "skippedTime": "2026-01-01T02:00:00Z", "skippedReason": "the master was away",
        "createdAt": "2026-01-01T00:00:00Z"
    }));
}

#[test]
fn a_spec_with_everything() {
    frozen::<JobSpec>(&json!({
        "command": "make", "maxRetries": 3, "name": "nightly", "image": "gcc", "env": {"A": "b"},
        "timeout": "1h 30m", "priority": 5, "queue": "big", "labels": {"team": "core"},
        "resources": {"cpus": 2.0, "memory": "1g", "pids": 512, "tmp": "64m"}, "network": "bridge", "stdin": "x"
    }));
}

#[test]
fn a_spec_with_a_lease_and_retries_of_its_own() {
    let spec: JobSpec = frozen(&json!({
        "command": "make", "maxRetries": 3, "lease": "10m", "queue": "default",
        "retry": {"backoff": "30s", "onLost": false}
    }));
    assert!(!spec.retry.on_lost);
    let spec: JobSpec =
        serde_json::from_value(json!({"command": "true", "retry": {}, "lease": 90})).unwrap();
    assert!(spec.retry.on_lost && spec.lease.is_some());
}

#[test]
fn every_outcome() {
    for example in [
        json!({"kind": "exited", "code": 0}),
        json!({"kind": "signalled", "signal": 9}),
        json!({"kind": "timedOut"}),
        json!({"kind": "outOfMemory"}),
        json!({"kind": "cancelled"}),
        json!({"kind": "imageUnavailable", "reason": "x"}),
        json!({"kind": "lost"}),
        json!({"kind": "handedBack"}),
        json!({"kind": "poison", "lost": 3}),
        json!({"kind": "couldNotStart", "reason": "x"}),
        json!({"kind": "refused", "reason": "x"}),
    ] {
        frozen::<Outcome>(&example);
    }
}

#[test]
fn claims_are_a_name_or_terms() {
    let name: ClaimRequest = serde_json::from_value(json!("w1")).unwrap();
    assert!(matches!(name, ClaimRequest::Name(name) if name.as_str() == "w1"));
    let short: ClaimRequest = serde_json::from_value(json!({"worker": "w1"})).unwrap();
    let ClaimRequest::Full(terms) = short else { panic!("the long form") };
    assert_eq!((terms.slots, terms.queues), (1, vec!["default".to_owned()]));
    frozen::<Claimed>(&json!({"job": job(), "lease": {"attempt": 3, "token": "t", "ttl": "1m"}}));
}

#[test]
fn a_whole_job_sent_back_is_an_update() {
    let mut sent = job();
    sent["status"] = json!(3);
    sent["exitCode"] = json!(0);
    let update: JobUpdate = serde_json::from_value(sent).unwrap();
    assert_eq!(update.exit_code, Some(0));
    assert_eq!(update.lease_token, None);
}

#[test]
fn what_comes_along_with_a_report() {
    let update: JobUpdate = frozen(&json!({
        "id": 7, "status": "Completed", "assignedWorker": "w1", "attempt": 3, "leaseToken": "t",
        "log": {"offset": 19, "crc32": 831_927_574}, "rest": "AUDzTPZeRwYABgAAAEhlbGxvCg==",
        "claim": {"slots": 1, "queues": ["default"], "requestId": "r"}
    }));
    assert_eq!(update.rest.unwrap().0.len(), 19);
    let short = json!({"id": 7, "status": 3, "assignedWorker": "w1", "claim": {}, "more": 1});
    let short: JobUpdate = serde_json::from_value(short).unwrap();
    let claim = short.claim.unwrap();
    assert_eq!((claim.slots, claim.queues), (1, vec!["default".to_owned()]));
    let next = json!({"job": job(), "lease": {"attempt": 3, "token": "t", "ttl": "1m"}});
    let told: Updated = frozen(&json!({"id": 7, "next": [next]}));
    assert!(told.job.is_none());
    let told: Updated = serde_json::from_value(job()).expect("as older masters answer");
    assert_eq!((told.id, told.next), (JobId(7), vec![]));
}

#[test]
fn what_the_master_tells_workers() {
    frozen::<Welcome>(&json!({"lease": "1m", "heartbeat": "15s"}));
    frozen::<Welcome>(&json!({
        "lease": "1m", "heartbeat": "15s",
        "held": [{"job": job(), "lease": {"attempt": 1, "token": "abc", "ttl": "50s"}}]
    }));
    frozen::<HeartbeatReply>(
        &json!({"lease": "1m", "lost": [1], "cancel": [2], "register": false}),
    );
    let reply: HeartbeatReply = frozen(&json!({
        "lease": "1m", "longer": {"7": "10m"}, "lost": [], "cancel": [], "register": false
    }));
    assert_eq!([7, 8].map(|id| reply.lease_of(JobId(id)).0.as_secs()), [600, 60]);
    frozen::<Orders>(&json!({"count": 7}));
    let beat: Heartbeat = frozen(&json!({"leases": [{"job": 1, "attempt": 2, "token": "t"}]}));
    assert_eq!(beat.unwell, None);
    frozen::<Heartbeat>(&json!({"leases": [], "unwell": "the engine does not answer"}));
    frozen::<LogHead>(&json!({"offset": 13, "output": 1, "gap": 0, "crc32": 4_294_967_295_u32}));
    frozen::<Worker>(&json!({
        "name": "w1", "online": true, "slots": 2, "queues": ["default"], "version": "0.1.0", "host": "h",
        "engine": "Docker 20.10", "labels": {}, "running": [1, 2],
        "registeredAt": "2026-01-02T03:04:05Z", "seenAt": "2026-01-02T03:04:05Z"
    }));
    frozen::<Worker>(&json!({
        "name": "w1", "online": true, "slots": 2, "queues": ["default"], "version": "0.1.0", "host": "h",
        "engine": "Docker 20.10", "labels": {}, "running": [], "unwell": "the engine does not answer",
        "registeredAt": "2026-01-02T03:04:05Z", "seenAt": "2026-01-02T03:04:05Z"
    }));
}

#[test]
fn what_a_worker_offers() {
    let offer = json!({
        "cpus": 1.5, "memory": "4g", "pids": 4096, "tmp": "1g", "network": "bridge",
        "images": ["gcc", "python"], "runtime": "runsc", "user": "1000:1000"
    });
    let registration: Registration = frozen(&json!({
        "slots": 2, "queues": ["default"], "version": "0.1.0", "host": "h", "engine": "e",
        "labels": {}, "offer": offer
    }));
    assert_eq!(registration.offer.unwrap().images.len(), 2);
    let worker: Worker = frozen(&json!({
        "name": "w1", "online": true, "slots": 2, "queues": ["default"], "version": "0.1.0", "host": "h",
        "engine": "e", "labels": {}, "offer": offer, "running": [],
        "registeredAt": "2026-01-02T03:04:05Z", "seenAt": "2026-01-02T03:04:05Z"
    }));
    assert!(worker.registration.offer.is_some());
    let short = json!({"cpus": 1, "memory": 1024, "pids": 10, "tmp": "1m"});
    let short: Offer = serde_json::from_value(short).unwrap();
    assert!(short.images.is_empty());
}

#[test]
fn log_events() {
    frozen::<LogEvent>(&json!({"attempt": 1, "time": 5, "stream": "stdout", "text": "hi\n"}));
    frozen::<LogEvent>(&json!({"attempt": 1, "time": 5, "stream": "stderr", "base64": "//4="}));
    frozen::<LogEvent>(&json!({"attempt": 1, "time": 5, "gap": 12}));
}

#[test]
fn a_problem() {
    frozen::<Problem>(&json!({
        "type": "urn:orchestra:problem:invalid", "title": "t", "status": 422, "detail": "d",
        "errors": [{"pointer": "/command", "detail": "is empty"}], "hint": "h"
    }));
}

#[test]
fn tokens() {
    let wanted: NewToken = frozen(&json!({"role": "worker", "name": "box", "worker": "w1"}));
    assert_eq!(wanted.role, Role::Worker);
    let _: NewToken = frozen(&json!({"role": "admin"}));
    let info: TokenInfo = frozen(&json!({
        "id": 3, "role": "client", "name": null, "worker": null,
        "createdAt": "2026-01-02T03:04:05Z", "revokedAt": "2026-01-02T03:04:06Z"
    }));
    assert!(info.revoked_at.is_some());
}
