//! A worker made of curl alone: it claims with a bare name, and reports under that name.

use serde_json::json;

use crate::harness::{LEASE, Master};

#[tokio::test]
async fn the_whole_way() {
    let master = Master::start().await;
    assert_eq!(master.post("/api/job/claim", json!("me")).await.status, 204);
    master.submit(json!({"command": "echo done"})).await;

    let claimed = master.post("/api/job/claim", json!("me")).await;
    assert_eq!(claimed.status, 200);
    let job = claimed.json();
    assert_eq!(job["id"], 1);
    assert_eq!(job["status"], "Assigned");
    assert_eq!(job["assignedWorker"], "me");
    assert_eq!(job["attempt"], 1);

    let update = json!({"id": 1, "status": "Running", "assignedWorker": "me"});
    let running = master.post("/api/job/update", update).await.json();
    assert_eq!(running["status"], "Running");
    assert_eq!(running["startedAt"], "2026-01-02T03:04:05Z");

    // There is no heartbeat, but the lease still holds: it lasts as long as the job's timeout.
    master.clock.advance(LEASE);
    master.clock.advance(LEASE);
    assert_eq!(master.service.expire_leases().await.unwrap(), 0);

    let update = json!({
        "id": 1, "status": "Completed", "assignedWorker": "me", "exitCode": 0,
        "output": "done\n", "error": "a warning\n"
    });
    let done = master.post("/api/job/update", update.clone()).await.json();
    assert_eq!(done["status"], "Completed");
    assert_eq!(done["output"], "done\n");
    assert_eq!(done["error"], "a warning\n");
    assert_eq!(done["exitCode"], 0);
    assert_eq!(done["reason"], "succeeded");
    assert_eq!(master.get("/api/job/1/log").await.text(), "done\na warning\n");
    assert_eq!(master.get("/api/job/1/log?stream=stderr").await.text(), "a warning\n");

    // The answer was lost: repeating the report changes nothing.
    let again = master.post("/api/job/update", update).await;
    assert_eq!((again.status.as_u16(), again.json()), (200, done));
    assert_eq!(master.get("/api/job/1/log").await.text(), "done\na warning\n");
}

/// A refused report does not affect the others.
#[tokio::test]
async fn many_reports_at_once() {
    let master = Master::start().await;
    for _ in 0..3 {
        master.submit(json!({"command": "true", "maxRetries": 0})).await;
        master.post("/api/job/claim", json!("me")).await;
    }
    let report = |id, worker| json!({"id": id, "status": "Completed", "assignedWorker": worker, "exitCode": 0});
    let failed = json!({"id": 3, "status": "Failed", "assignedWorker": "me", "exitCode": 3});
    let reports = [report(1, "me"), report(2, "you"), report(99, "me"), failed];
    let answer = master.post("/api/job/update", json!(reports)).await;
    assert_eq!(answer.status, 200);
    let answer = answer.json();
    let ids: Vec<_> = answer.as_array().unwrap().iter().map(|one| one["id"].clone()).collect();
    assert_eq!(ids, [1, 2, 99, 3]);
    assert_eq!(answer[0]["job"]["status"], "Completed");
    assert_eq!(answer[1]["problem"]["type"], "urn:orchestra:problem:lease-lost");
    assert_eq!(answer[2]["problem"]["status"], 404);
    assert_eq!(answer[3]["job"]["exitCode"], 3);
    assert_eq!((answer[0].get("problem"), answer[1].get("job")), (None, None));
    assert_eq!(master.get("/api/job/2").await.json()["status"], "Assigned");
    let many = vec![report(1, "me"); 257];
    assert_eq!(master.post("/api/job/update", json!(many)).await.problem(), "invalid");
}

#[tokio::test]
async fn the_whole_job_sent_back_is_a_report() {
    let master = Master::start().await;
    master.submit(json!({"command": "false", "maxRetries": 0})).await;
    let mut job = master.post("/api/job/claim", json!("me")).await.json();
    job["status"] = json!(4);
    job["exitCode"] = json!(3);
    job["output"] = json!("x");
    let failed = master.post("/api/job/update", job).await.json();
    assert_eq!(failed["status"], "Failed");
    assert_eq!(failed["outcome"], json!({"kind": "exited", "code": 3}));
    assert_eq!(failed["output"], "x");
}

#[tokio::test]
async fn the_exit_code_may_be_left_out() {
    let master = Master::start().await;
    for (status, code) in [("completed", 0), ("FAILED", 1)] {
        let id = master.submit(json!({"command": "x"})).await;
        assert_eq!(master.post("/api/job/claim", json!("me")).await.json()["id"], id);
        let update = json!({"id": id, "status": status, "assignedWorker": "me"});
        assert_eq!(master.post("/api/job/update", update).await.json()["exitCode"], code);
    }
}

#[tokio::test]
async fn nobody_else_may_report() {
    let master = Master::start().await;
    master.submit(json!({"command": "true"})).await;
    let update = json!({"id": 1, "status": "Running", "assignedWorker": "me"});
    assert_eq!(master.post("/api/job/update", update).await.problem(), "lease-lost");
    master.post("/api/job/claim", json!("me")).await;
    for status in ["Running", "Completed", "Failed", "Pending"] {
        let update =
            json!({"id": 1, "status": status, "assignedWorker": "you", "output": "forged"});
        let reply = master.post("/api/job/update", update).await;
        assert_eq!(
            (reply.status.as_u16(), reply.problem().as_str()),
            (409, "lease-lost"),
            "{status}"
        );
    }
    assert_eq!(master.job(1).await["status"], "Assigned");
    assert_eq!(master.get("/api/job/1/log").await.text(), "");
}

#[tokio::test]
async fn a_name_does_not_stand_in_for_a_token() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "true"})).await;
    let update = json!({"id": claimed.job.id, "status": "Completed", "assignedWorker": "w"});
    assert_eq!(master.post("/api/job/update", update).await.problem(), "lease-lost");
}

#[tokio::test]
async fn long_output_is_kept_whole() {
    let master = Master::start().await;
    master.submit(json!({"command": "x"})).await;
    master.post("/api/job/claim", json!("me")).await;
    let output = "0123456789abcde\n".repeat(20_000);
    let update = json!({"id": 1, "status": "Completed", "assignedWorker": "me", "output": output});
    let job = master.post("/api/job/update", update).await.json();
    assert_eq!(job["output"], output[output.len() - 65_536..]);
    assert_eq!(job["outputTruncated"], true);
    assert_eq!(master.get("/api/job/1/log").await.text(), output);
}
