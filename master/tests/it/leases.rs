//! Claims in the long form, expiring leases, delayed retries. The clock is set, and no test sleeps.

use orchestra_contracts::{
    JobStatus, Span,
    worker::{Claimed, Lease, Welcome},
};
use serde_json::json;

use crate::harness::{BACKOFF, LEASE, Master};

#[tokio::test]
async fn a_claim_takes_as_many_as_it_has_slots_and_only_its_queues() {
    let master = Master::start().await;
    for queue in ["default", "big", "default", "default"] {
        master.submit(json!({"command": "true", "queue": queue})).await;
    }
    let terms = json!({"worker": "w", "slots": 2});
    let claimed: Vec<Claimed> = master.post("/api/job/claim", terms).await.read();
    assert_eq!(claimed.iter().map(|one| one.job.id.0).collect::<Vec<_>>(), [1, 3]);
    assert!(claimed.iter().all(|one| one.lease.ttl == LEASE && one.lease.attempt.0 == 1));
    assert_ne!(claimed[0].lease.token, claimed[1].lease.token);
    let terms = json!({"worker": "w", "slots": 2, "queues": ["big"]});
    let claimed: Vec<Claimed> = master.post("/api/job/claim", terms).await.read();
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].job.id.0, 2);
}

#[tokio::test]
async fn a_repeated_claim_gets_the_same_leases() {
    let master = Master::start().await;
    for _ in 0..3 {
        master.submit(json!({"command": "true"})).await;
    }
    let terms = json!({"worker": "w", "slots": 2, "requestId": "r1"});
    let first: Vec<Claimed> = master.post("/api/job/claim", terms.clone()).await.read();
    master.clock.advance(Span::from_secs(10));
    let again: Vec<Claimed> = master.post("/api/job/claim", terms).await.read();
    assert_eq!(first.len(), 2);
    for (first, again) in first.iter().zip(&again) {
        assert_eq!((first.job.id, &first.lease.token), (again.job.id, &again.lease.token));
        assert_eq!(again.lease.ttl, Span::from_secs(50), "what is left of it");
    }
    let next = json!({"worker": "w", "slots": 2, "requestId": "r2"});
    let next: Vec<Claimed> = master.post("/api/job/claim", next).await.read();
    assert_eq!(next.iter().map(|one| one.job.id.0).collect::<Vec<_>>(), [3]);
}

#[tokio::test]
async fn a_worker_that_registers_again_is_told_what_it_holds() {
    let master = Master::start().await;
    for _ in 0..4 {
        master.submit(json!({"command": "true"})).await;
    }
    let ended = master.claim("w").await.unwrap();
    master.report(&ended, "w", json!({"status": "Completed"})).await;
    let assigned = master.claim("w").await.unwrap();
    let running = master.claim("w").await.unwrap();
    master.report(&running, "w", json!({"status": "Running"})).await;
    master.claim("another").await.unwrap();
    master.clock.advance(Span::from_secs(10));

    let registration = json!({"slots": 2, "queues": ["default"], "version": "1"});
    let reply = master.send_json("PUT", "/api/worker/w", &registration).await;
    let welcome: Welcome = reply.read();
    let held: Vec<_> = welcome.held.iter().map(|held| (held.job.id, &held.lease)).collect();
    let left = |lease: &Lease| Lease { ttl: Span::from_secs(50), ..lease.clone() };
    let expected =
        [(assigned.job.id, left(&assigned.lease)), (running.job.id, left(&running.lease))];
    assert_eq!(held, expected.each_ref().map(|(id, lease)| (*id, lease)));
    let statuses: Vec<_> = welcome.held.iter().map(|held| held.job.status).collect();
    assert_eq!(statuses, [JobStatus::Assigned, JobStatus::Running]);

    // Listing a lease does not renew it, so a lost one expires as it would have.
    master.clock.advance(Span::from_secs(50));
    assert_eq!(master.service.expire_leases().await.unwrap(), 3);
    let reply = master.send_json("PUT", "/api/worker/w", &registration).await;
    assert_eq!(reply.json(), json!({"lease": "1m", "heartbeat": "15s"}));
}

#[tokio::test]
async fn heartbeats_keep_a_lease_and_tell_of_lost_ones() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "sleep 99"})).await;
    let lease = json!({"job": 1, "attempt": 1, "token": claimed.lease.token});
    let stale = json!({"job": 1, "attempt": 1, "token": "another"});
    for _ in 0..4 {
        master.clock.advance(Span::from_secs(50));
        let beat = json!({"leases": [lease]});
        assert_eq!(master.post("/api/worker/w/heartbeat", beat).await.json()["lost"], json!([]));
        assert_eq!(master.service.expire_leases().await.unwrap(), 0);
    }
    let reply = master.post("/api/worker/w/heartbeat", json!({"leases": [stale]})).await;
    assert_eq!(reply.json()["lost"], json!([1]));
}

#[tokio::test]
async fn a_job_may_ask_for_a_longer_lease_and_not_for_a_shorter_one() {
    let master = Master::start().await;
    for (spec, pointer, detail) in [
        (json!({"lease": "59s"}), "/lease", "is shorter than 1m"),
        (json!({"lease": 0}), "/lease", "is shorter than 1m"),
        (json!({"lease": "2h"}), "/lease", "is longer than 1h"),
        (json!({"retry": {"backoff": "2m"}}), "/retry/backoff", "is longer than 1m"),
        (json!({"retry": {"onLost": "no"}}), "/retry/onLost", "invalid type"),
        (json!({"retry": {"base": "1s"}}), "/retry/base", "unknown field"),
    ] {
        let mut spec = spec;
        spec["command"] = json!("true");
        let reply = master.post("/api/job", spec.clone()).await;
        assert_eq!(reply.problem(), "invalid", "{spec}: {reply:?}");
        let error = &reply.json()["errors"][0];
        assert_eq!(error["pointer"], pointer, "{spec}: {error}");
        assert!(error["detail"].as_str().unwrap().contains(detail), "{spec}: {error}");
    }
    let claimed = master.running(json!({"command": "sleep 99", "lease": "10m"})).await;
    assert_eq!(claimed.lease.ttl, Span::from_secs(600));
    let lease = json!({"job": 1, "attempt": 1, "token": claimed.lease.token});
    master.clock.advance(Span::from_secs(500));
    assert_eq!(master.service.expire_leases().await.unwrap(), 0);
    let reply = master.post("/api/worker/w/heartbeat", json!({"leases": [lease]})).await.json();
    assert_eq!((&reply["lease"], &reply["longer"]), (&json!("1m"), &json!({"1": "10m"})));
    master.clock.advance(Span::from_secs(599));
    assert_eq!(master.service.expire_leases().await.unwrap(), 0);
    master.clock.advance(Span::from_secs(1));
    assert_eq!(master.service.expire_leases().await.unwrap(), 1);
}

#[tokio::test]
async fn a_job_that_keeps_losing_workers_fails_as_poison() {
    let master = Master::start().await;
    master.submit(json!({"command": "true", "maxRetries": 9})).await;
    for _ in 0..3 {
        master.claim("w").await.expect("an attempt");
        master.clock.advance(LEASE);
        assert_eq!(master.service.expire_leases().await.unwrap(), 1);
        master.clock.advance(BACKOFF);
    }
    let job = master.job(1).await;
    assert_eq!((&job["status"], &job["retryCount"]), (&json!("Failed"), &json!(0)));
    assert_eq!(job["outcome"], json!({"kind": "poison", "lost": 3}));
    assert!(job["reason"].as_str().unwrap().starts_with("lost its worker 3 times"), "{job}");
    let attempts = master.get("/api/job/1/attempts").await.json();
    assert_eq!(attempts[2]["outcome"], json!({"kind": "lost"}));
    assert!(master.claim("w").await.is_none());
}

/// For a command that must not run twice: an attempt that may have started is not repeated.
#[tokio::test]
async fn a_job_that_is_run_at_most_once_fails_with_its_worker() {
    let master = Master::start().await;
    let spec = json!({"command": "true", "maxRetries": 2, "retry": {"onLost": false}});
    let claimed = master.running(spec.clone()).await;
    let job = master.report(&claimed, "w", json!({"status": "Pending"})).await.json();
    assert_eq!((&job["status"], &job["outcome"]["kind"]), (&json!("Failed"), &json!("handedBack")));

    master.submit(spec.clone()).await;
    let held = master.claim("w").await.unwrap();
    let job = master.report(&held, "w", json!({"status": "Pending"})).await.json();
    assert_eq!(job["status"], "Pending", "it had not begun");
    master.claim("w").await.unwrap();
    master.clock.advance(LEASE);
    assert_eq!(master.service.expire_leases().await.unwrap(), 1);
    let job = master.job(2).await;
    assert_eq!((&job["status"], &job["outcome"]["kind"]), (&json!("Failed"), &json!("lost")));
}

#[tokio::test]
async fn a_lease_that_ran_out_makes_room_for_the_next_attempt() {
    let master = Master::start().await;
    let first = master.running(json!({"command": "true", "maxRetries": 1})).await;
    master.clock.advance(LEASE);
    assert_eq!(master.service.expire_leases().await.unwrap(), 1);
    let job = master.job(1).await;
    assert_eq!((&job["status"], &job["retryCount"]), (&json!("Pending"), &json!(0)));
    assert_eq!(job["outcome"], json!({"kind": "lost"}));

    master.clock.advance(BACKOFF);
    let second = master.claim("w2").await.expect("the next attempt");
    assert_eq!(second.lease.attempt.0, 2);
    for status in ["Running", "Completed", "Failed"] {
        let late = master.report(&first, "w", json!({"status": status})).await;
        assert_eq!(late.problem(), "lease-lost", "{status}");
    }
    assert_eq!(master.report(&second, "w2", json!({"status": "Completed"})).await.status, 200);
    assert_eq!(
        master.report(&first, "w", json!({"status": "Failed"})).await.problem(),
        "lease-lost"
    );
    assert_eq!(master.job(1).await["status"], "Completed");
}

/// Workers could not renew their leases while there was no master.
#[tokio::test]
async fn a_master_that_just_started_expires_nothing() {
    let master = Master::start().await;
    master.running(json!({"command": "true"})).await;
    master.clock.advance(LEASE);
    let restarted = master.restarted();
    assert_eq!(restarted.expire_leases().await.unwrap(), 0);
    master.clock.advance(LEASE);
    assert_eq!(restarted.expire_leases().await.unwrap(), 1);
}

#[tokio::test]
async fn failures_are_tried_again_after_a_wait_and_recorded() {
    let master = Master::start().await;
    master.submit(json!({"command": "false", "maxRetries": 2})).await;
    for attempt in 1..=3 {
        let claimed = master.claim("w").await.expect("an attempt");
        assert_eq!(claimed.lease.attempt.0, attempt);
        let job =
            master.report(&claimed, "w", json!({"status": "Failed", "exitCode": 2})).await.json();
        if attempt < 3 {
            assert_eq!((&job["status"], &job["retryCount"]), (&json!("Pending"), &json!(attempt)));
            assert!(job["notBefore"].is_string(), "{job}");
        } else {
            assert_eq!((&job["status"], &job["retryCount"]), (&json!("Failed"), &json!(2)));
        }
        master.clock.advance(BACKOFF);
    }
    assert!(master.claim("w").await.is_none());
    let attempts = master.get("/api/job/1/attempts").await.json();
    assert_eq!(attempts.as_array().unwrap().len(), 3);
    assert_eq!(attempts[2]["number"], 3);
    assert_eq!(attempts[2]["reason"], "exited with code 2");
    assert_eq!(attempts[0]["worker"], "w");
}

#[tokio::test]
async fn a_job_handed_back_goes_to_the_next_at_once() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "true"})).await;
    let job = master.report(&claimed, "w", json!({"status": "Pending"})).await.json();
    assert_eq!((&job["status"], &job["retryCount"]), (&json!("Pending"), &json!(0)));
    assert_eq!(master.claim("w2").await.unwrap().lease.attempt.0, 2);
}

#[tokio::test]
async fn reports_that_contradict_themselves_are_refused() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "true"})).await;
    for (report, pointer) in [
        (json!({"status": "Completed", "exitCode": 1}), "/exitCode"),
        (json!({"status": "Failed", "exitCode": 0}), "/exitCode"),
        (json!({"status": "Failed", "exitCode": 256}), "/exitCode"),
        (json!({"status": "Failed", "exitCode": -1}), "/exitCode"),
        (json!({"status": "Completed", "outcome": {"kind": "timedOut"}}), "/outcome"),
        (json!({"status": "Failed", "outcome": {"kind": "exited", "code": 0}}), "/outcome"),
        (json!({"status": "Failed", "outcome": {"kind": "poison", "lost": 1}}), "/outcome"),
        (
            json!({"status": "Failed", "exitCode": 3, "outcome": {"kind": "exited", "code": 2}}),
            "/exitCode",
        ),
    ] {
        let reply = master.report(&claimed, "w", report.clone()).await;
        assert_eq!(reply.problem(), "invalid", "{report}");
        assert_eq!(reply.json()["errors"][0]["pointer"], pointer, "{report}");
    }
    assert_eq!(master.job(1).await["status"], "Running");
}
