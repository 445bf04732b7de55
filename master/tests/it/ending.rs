//! Cancel, delete and retry, in each state.

use serde_json::json;

use crate::harness::{Master, out};

#[tokio::test]
async fn cancel_ends_a_waiting_job_at_once() {
    let master = Master::start().await;
    let id = master.submit(json!({"command": "true"})).await;
    let reply = master.bare("POST", "/api/job/1/cancel").await;
    assert_eq!(reply.status, 200);
    let job = reply.json();
    assert_eq!(
        (&job["status"], &job["outcome"]["kind"]),
        (&json!("Cancelled"), &json!("cancelled"))
    );
    assert_eq!(job["finishedAt"], "2026-01-02T03:04:05Z");
    assert_eq!(
        master.bare("POST", "/api/job/1/cancel").await.status,
        200,
        "repeating it changes nothing"
    );
    assert!(master.claim("w").await.is_none());
    assert_eq!(master.job(id).await["attempt"], json!(null));
}

#[tokio::test]
async fn cancel_of_a_held_job_goes_through_its_worker() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "sleep 9"})).await;
    let reply = master.bare("POST", "/api/job/1/cancel").await;
    assert_eq!((reply.status.as_u16(), &reply.json()["cancelling"]), (202, &json!(true)));
    assert_eq!(master.bare("POST", "/api/job/1/cancel").await.status, 202);

    let lease = json!({"job": 1, "attempt": 1, "token": claimed.lease.token});
    let reply = master.post("/api/worker/w/heartbeat", json!({"leases": [lease]})).await;
    assert_eq!(reply.json()["cancel"], json!([1]));

    let cancelled = json!({"status": "Failed", "outcome": {"kind": "cancelled"}});
    let job = master.report(&claimed, "w", cancelled).await.json();
    assert_eq!(job["status"], "Cancelled");
    assert_eq!(job["cancelling"], json!(null), "absent after the end");
    assert_eq!(master.bare("POST", "/api/job/1/cancel").await.status, 200);
}

/// The worker is notified at once about its own job, and not about other jobs.
#[tokio::test]
async fn a_worker_is_told_when_one_of_its_jobs_is_to_end() {
    let master = Master::start().await;
    let count = async |query: &str| {
        let reply = master.get(&format!("/api/worker/w/orders{query}")).await;
        reply.json()["count"].as_u64().unwrap()
    };
    let known = count("").await;
    master.running(json!({"command": "sleep 9"})).await;
    master.submit(json!({"command": "true"})).await;
    master.bare("POST", "/api/job/2/cancel").await;
    assert_eq!(count(&format!("?after={known}&wait=50ms")).await, known, "no worker holds the job");

    let asked = tokio::time::Instant::now();
    let query = format!("?after={known}&wait=2m");
    let (told, reply) = tokio::join!(count(&query), master.bare("POST", "/api/job/1/cancel"));
    assert_eq!(reply.status, 202);
    assert_ne!(told, known);
    assert!(asked.elapsed() < std::time::Duration::from_secs(30));
    assert_eq!(count(&query).await, told, "also for a late request");
    master.bare("DELETE", "/api/job/1").await;
    assert_ne!(count(&format!("?after={told}&wait=2m")).await, told);
}

#[tokio::test]
async fn cancel_comes_too_late_for_an_ended_job() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "true"})).await;
    master.report(&claimed, "w", json!({"status": "Completed"})).await;
    let reply = master.bare("POST", "/api/job/1/cancel").await;
    assert_eq!((reply.status.as_u16(), reply.problem().as_str()), (409, "illegal-step"));
}

#[tokio::test]
async fn delete_takes_everything_with_it() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "true"})).await;
    master.stored(&claimed, &[out("x")], 0).await;
    master.report(&claimed, "w", json!({"status": "Completed"})).await;
    let reply = master.bare("DELETE", "/api/job/1").await;
    assert_eq!((reply.status.as_u16(), reply.body.len()), (204, 0));
    for path in ["/api/job/1", "/api/job/1/log", "/api/job/1/attempts", "/api/job/1/attempts/1/log"]
    {
        assert_eq!(master.get(path).await.problem(), "not-found", "{path}");
    }
    assert_eq!(master.bare("DELETE", "/api/job/1").await.problem(), "not-found");
    assert_eq!(master.submit(json!({"command": "true"})).await, 2, "ids are not reused");
}

#[tokio::test]
async fn delete_of_a_held_job_cancels_it_first() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "sleep 9"})).await;
    assert_eq!(master.bare("DELETE", "/api/job/1").await.status, 202);
    assert_eq!(
        master.bare("DELETE", "/api/job/1").await.status,
        202,
        "repeating it changes nothing"
    );
    assert_eq!(master.job(1).await["cancelling"], true);
    let cancelled = json!({"status": "Failed", "outcome": {"kind": "cancelled"}});
    assert_eq!(master.report(&claimed, "w", cancelled).await.status, 200);
    assert_eq!(master.get("/api/job/1").await.problem(), "not-found");
}

#[tokio::test]
async fn retry_runs_an_ended_job_again() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "false"})).await;
    assert_eq!(master.bare("POST", "/api/job/1/retry").await.problem(), "illegal-step");
    master.report(&claimed, "w", json!({"status": "Failed", "exitCode": 7})).await;
    let job = master.bare("POST", "/api/job/1/retry").await;
    assert_eq!((job.status.as_u16(), &job.json()["status"]), (200, &json!("Pending")));
    let again = master.claim("w").await.unwrap();
    assert_eq!(again.lease.attempt.0, 2);
    master.report(&again, "w", json!({"status": "Completed"})).await;
    let attempts = master.get("/api/job/1/attempts").await.json();
    assert_eq!((&attempts[0]["exitCode"], &attempts[1]["exitCode"]), (&json!(7), &json!(0)));
    assert_eq!(master.job(1).await["status"], "Completed");
}
