//! Many jobs in one call, dependent jobs and arrays: all or nothing, with a pointer to what is wrong.

use axum::body::Body;
use serde_json::{Value, json};

use crate::harness::{Master, Reply, request};

fn ids(reply: &Reply) -> Vec<i64> {
    assert_eq!(reply.status, 201, "{reply:?}");
    reply.json().as_array().unwrap().iter().map(|job| job["id"].as_i64().unwrap()).collect()
}

async fn count(master: &Master) -> usize {
    master.get("/api/job").await.json().as_array().unwrap().len()
}

async fn lines(master: &Master, body: String) -> Reply {
    let request = request("POST", "/api/job").header("content-type", "application/x-ndjson");
    master.send(request.body(Body::from(body)).unwrap()).await
}

#[tokio::test]
async fn a_list_is_stored_whole_and_in_its_order() {
    let master = Master::start().await;
    let specs: Vec<Value> = (0..3000).map(|n| json!({"command": format!("echo {n}")})).collect();
    let reply = master.post("/api/job", json!(specs)).await;
    assert_eq!(ids(&reply), (1..=3000).collect::<Vec<i64>>());
    assert_eq!(master.job(3000).await["command"], "echo 2999");
    assert_eq!(reply.header("location"), "", "several jobs have no common location");
    let claimed = master.claim("w").await.unwrap();
    assert_eq!(claimed.job.id.0, 1);
}

#[tokio::test]
async fn one_job_a_line_is_a_list() {
    let master = Master::start().await;
    let body = "{\"command\": \"true\"}\n".repeat(100);
    assert_eq!(ids(&lines(&master, body).await).len(), 100);
    let body = "{\"command\": \"a\"}\n{\"command\": \"\"}\n".to_owned();
    let reply = lines(&master, body).await;
    assert_eq!(
        (reply.status.as_u16(), &reply.json()["errors"][0]["pointer"]),
        (422, &json!("/1/command"))
    );
    assert_eq!(count(&master).await, 100, "nothing of it is stored");
}

#[tokio::test]
async fn one_bad_job_keeps_out_all() {
    let master = Master::start().await;
    let bad = json!({"command": "x", "priority": 9999, "resources": {"pids": 1}});
    let reply = master
        .post("/api/job", json!([{"command": "a"}, bad, {"command": "b", "after": [77]}]))
        .await;
    assert_eq!(reply.status, 422);
    let errors = reply.json()["errors"].clone();
    let pointers: Vec<&str> =
        errors.as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers, ["/1/priority", "/1/resources/pids"]);
    let reply =
        master.post("/api/job", json!([{"command": "a"}, {"command": "b", "after": [77]}])).await;
    assert_eq!(
        reply.json()["errors"][0],
        json!({"pointer": "/1/after/0", "detail": "there is no job 77"})
    );
    assert_eq!(count(&master).await, 0);
}

#[tokio::test]
async fn names_tie_the_jobs_of_a_call_together() {
    let master = Master::start().await;
    let jobs = json!([
        {"command": "ship", "name": "ship", "after": ["test"]},
        {"command": "test", "name": "test", "after": ["build"]},
        {"command": "build", "name": "build"},
        {"command": "mail", "afterFailed": ["build", "test"]},
    ]);
    let reply = master.post("/api/job", jobs).await;
    assert_eq!(ids(&reply), [1, 2, 3, 4]);
    assert_eq!(master.job(1).await["after"], json!([2]));
    let reason = master.get("/api/job/1/explain").await.json()["reasons"][0].clone();
    assert_eq!((&reason["code"], &reason["count"]), (&json!("after"), &json!(1)));
    assert_eq!(reason["text"], "it waits for job 2 (Pending) to complete");

    let build = master.claim("w").await.unwrap();
    assert_eq!(build.job.id.0, 3);
    assert!(master.claim("w").await.is_none());
    master.report(&build, "w", json!({"status": "Completed", "exitCode": 0})).await;
    let mail = master.job(4).await;
    assert_eq!(
        (&mail["status"], &mail["outcome"]["kind"]),
        (&json!("Cancelled"), &json!("skipped"))
    );
    assert_eq!(
        mail["reason"],
        "skipped: job 3 completed, and this one begins only after it has failed"
    );
    let test = master.claim("w").await.unwrap();
    assert_eq!(test.job.id.0, 2);
    master.report(&test, "w", json!({"status": "Failed", "exitCode": 1})).await;
    assert_eq!(master.job(1).await["outcome"]["ended"], "Failed");
    assert!(master.claim("w").await.is_none());
}

/// A request that waits for the job's end is answered at once.
#[tokio::test]
async fn an_end_that_others_bring_about_wakes_who_waits_for_it() {
    let master = Master::start().await;
    master
        .post("/api/job", json!([{"command": "a", "name": "a"}, {"command": "b", "after": ["a"]}]))
        .await;
    let begun = std::time::Instant::now();
    let (waited, _) = futures::join!(master.get("/api/job/2?wait=30s"), async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        master.bare("POST", "/api/job/1/cancel").await
    });
    assert_eq!(waited.json()["status"], "Cancelled");
    assert!(begun.elapsed() < std::time::Duration::from_secs(10));
}

#[tokio::test]
async fn an_array_is_answered_with_its_jobs() {
    let master = Master::start().await;
    let reply = master.post("/api/job", json!({"command": "x", "array": "5-9:2%1"})).await;
    assert_eq!(ids(&reply), [1, 2, 3]);
    let jobs = reply.json();
    let indexes: Vec<&Value> =
        jobs.as_array().unwrap().iter().map(|job| &job["arrayIndex"]).collect();
    assert_eq!(indexes, [5, 7, 9]);
    assert_eq!((&jobs[2]["arrayId"], &jobs[2]["array"]), (&json!(1), &json!("5-9:2%1")));
    let first = master.claim("w").await.unwrap();
    assert_eq!(first.job.element(), Some((first.job.id, 5)));
    assert!(master.claim("w").await.is_none());
    let reason = master.get("/api/job/2/explain").await.json()["reasons"][0].clone();
    assert_eq!((&reason["code"], &reason["atOnce"]), (&json!("turn"), &json!(1)), "{reason}");
    master.report(&first, "w", json!({"status": "Failed", "exitCode": 1})).await;
    assert_eq!(master.claim("w").await.unwrap().job.id.0, 2);
}

#[tokio::test]
async fn a_key_is_of_the_whole_list() {
    let master = Master::start().await;
    let send = async |body: &Value| {
        let request = request("POST", "/api/job").header("content-type", "application/json");
        let request = request.header("idempotency-key", "k").body(Body::from(body.to_string()));
        master.send(request.unwrap()).await
    };
    let body = json!([{"command": "a"}, {"command": "b"}]);
    let first = send(&body).await;
    let again = send(&body).await;
    assert_eq!((again.header("idempotent-replayed"), again.json()), ("true", first.json()));
    assert_eq!(send(&json!([{"command": "a"}])).await.status, 422);
    master.bare("DELETE", "/api/job/1").await;
    assert_eq!(ids(&send(&body).await), [2], "what is left of it");
    assert_eq!(count(&master).await, 1);
}

#[tokio::test]
async fn a_dry_run_stores_nothing() {
    let master = Master::start().await;
    let spec = json!({"command": "x", "secrets": {"S": "hunter2hunter2"}, "array": "1-2"});
    let reply = master.post("/api/job?dryRun=true", json!([spec, {"command": "y"}])).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let specs = reply.json();
    assert_eq!(specs.as_array().unwrap().len(), 3);
    assert_eq!((&specs[0]["timeout"], &specs[0]["secrets"]["S"]), (&json!("1h"), &json!("***")));
    for (body, pointer) in [
        (json!([{"command": "x", "after": [1]}]), "/0/after/0"),
        (json!({"command": "x", "after": [1]}), "/after/0"),
        (json!({"command": "", "after": [1]}), "/command"),
    ] {
        let reply = master.post("/api/job?dryRun=true", body).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["errors"][0]["pointer"]),
            (422, &json!(pointer))
        );
    }
    assert_eq!(count(&master).await, 0);
}

#[tokio::test]
async fn one_job_may_be_as_large_as_before_and_a_list_larger() {
    let master = Master::start().await;
    let big = |size: usize| json!({"command": "x", "stdin": "y".repeat(size)});
    let reply = master.post("/api/job", big(5 << 20)).await;
    assert_eq!(reply.status, 413, "{reply:?}");
    let mut full = big(1 << 20);
    full["files"] = json!([{"path": "a", "text": "\n".repeat(1 << 20)}]);
    let reply = master.post("/api/job", full).await;
    assert_eq!(reply.status, 201, "it escapes to 3 MiB: {:?}", reply.status);
    let reply = master.post("/api/job", json!(vec![big(1 << 20); 5])).await;
    assert_eq!(ids(&reply).len(), 5);
    let reply = master.post("/api/job", json!(vec![big(1 << 20); 17])).await;
    assert_eq!(reply.status, 413, "{reply:?}");
}
