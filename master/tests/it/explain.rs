//! The explanation of a job, in words and as data: why it waits, who holds it, how it ended.

use orchestra_contracts::Span;
use serde_json::{Value, json};

use crate::harness::Master;

async fn register(master: &Master, worker: &str, more: Value) {
    let mut registration = json!({"slots": 1, "queues": ["default"], "version": "1"});
    registration.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let reply = master.send_json("PUT", &format!("/api/worker/{worker}"), &registration).await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

/// The reasons for this job, each with its code.
async fn reasons(master: &Master, id: i64) -> Vec<Value> {
    let reply = master.get(&format!("/api/job/{id}/explain")).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let explanation = reply.json();
    assert_eq!(explanation["job"], id);
    assert_eq!(explanation["status"], master.job(id).await["status"]);
    explanation["reasons"].as_array().unwrap().clone()
}

async fn codes(master: &Master, id: i64) -> Vec<String> {
    reasons(master, id).await.iter().map(|it| it["code"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn who_is_missing_is_told() {
    let master = Master::start().await;
    let id = master.submit(json!({"command": "true"})).await;
    let reason = reasons(&master, id).await.remove(0);
    assert_eq!((&reason["code"], &reason["away"]), (&json!("noWorker"), &json!(0)));
    assert_eq!(reason["text"], "no worker serves queue default");
    assert!(reason["hint"].as_str().unwrap().contains("orchestra worker"), "{reason}");

    register(&master, "w", json!({})).await;
    assert_eq!(codes(&master, id).await, ["next"]);
    master.clock.advance(Span::from_secs(61));
    let reason = reasons(&master, id).await.remove(0);
    assert_eq!(reason["text"], "no worker of queue default is online (1 away)");
}

#[tokio::test]
async fn what_each_worker_lacks_is_told() {
    let master = Master::start().await;
    let offer = json!({"cpus": 1, "memory": "1g", "pids": 64, "tmp": "64m", "images": []});
    register(&master, "small", json!({"labels": {"gpu": "yes"}, "offer": offer})).await;
    register(&master, "bare", json!({})).await;
    let spec =
        json!({"command": "true", "requires": {"gpu": "yes"}, "resources": {"memory": "2g"}});
    let id = master.submit(spec).await;
    let reason = reasons(&master, id).await.remove(0);
    assert_eq!(reason["code"], "noMatch");
    assert_eq!(
        reason["text"],
        "no worker of queue default can take it: bare lacks the label gpu=yes; small allows \
         resources.memory = 1g at most, where 2g is asked for"
    );
    assert_eq!(reason["workers"][0]["worker"], "bare");
    assert_eq!(reason["workers"][1]["lacks"][0]["what"], "limit");

    let id = master.submit(json!({"command": "true", "requires": {"gpu": "yes"}})).await;
    master.bare("POST", "/api/worker/small/drain").await;
    let heartbeat = json!({"leases": [], "unwell": "its disk is nearly full"});
    master.post("/api/worker/small/heartbeat", heartbeat).await;
    let lacks = reasons(&master, id).await[0]["workers"][1]["lacks"].clone();
    let whats: Vec<&Value> = lacks.as_array().unwrap().iter().map(|lack| &lack["what"]).collect();
    assert_eq!(whats, ["draining", "unwell"], "{lacks}");
    assert_eq!(lacks[1]["text"], "starts no jobs: its disk is nearly full");
}

#[tokio::test]
async fn who_goes_first_and_what_the_queue_allows_is_told() {
    let master = Master::start().await;
    register(&master, "w", json!({})).await;
    for _ in 0..3 {
        master.submit(json!({"command": "true"})).await;
    }
    assert_eq!(codes(&master, 1).await, ["next"]);
    assert_eq!(reasons(&master, 3).await[0]["jobs"], 2);
    let held = master.claim("w").await.unwrap();
    assert_eq!(codes(&master, 2).await, ["busy"]);
    assert_eq!(codes(&master, 3).await, ["busy", "ahead"]);
    master.send_json("PATCH", "/api/queue/default", &json!({"concurrency": 1})).await;
    assert_eq!(codes(&master, 3).await, ["queueFull", "busy", "ahead"]);
    master.send_json("PATCH", "/api/queue/default", &json!({"paused": true})).await;
    let reason = reasons(&master, 2).await.remove(0);
    assert_eq!(reason["text"], "queue default has been paused since 2026-01-02T03:04:05Z");
    assert_eq!(reason["hint"], "`orchestra queues resume default`");

    let reason = reasons(&master, 1).await.remove(0);
    assert_eq!((&reason["code"], &reason["worker"]), (&json!("held"), &json!("w")));
    assert_eq!((&reason["attempt"], &reason["running"]), (&json!(1), &Value::Null));
    master.report(&held, "w", json!({"status": "Failed", "exitCode": 127})).await;
    let reason = reasons(&master, 1).await.remove(0);
    assert_eq!((&reason["code"], &reason["outcome"]["code"]), (&json!("ended"), &json!(127)));
    assert!(reason["text"].as_str().unwrap().ends_with("a command was not found in the image"));
}

#[tokio::test]
async fn a_time_that_is_waited_for_is_told() {
    let master = Master::start().await;
    register(&master, "w", json!({})).await;
    let id = master.submit(json!({"command": "true", "delay": "10s"})).await;
    let reason = reasons(&master, id).await.remove(0);
    assert_eq!(reason["text"], "it is not to begin before 2026-01-02T03:04:15Z");
    master.clock.advance(Span::from_secs(10));
    assert_eq!(codes(&master, id).await, ["next"]);

    let claimed = master.running(json!({"command": "false", "maxRetries": 1, "priority": 1})).await;
    master.report(&claimed, "w", json!({"status": "Failed", "exitCode": 1})).await;
    let reason = reasons(&master, claimed.job.id.0).await.remove(0);
    assert_eq!((&reason["code"], &reason["after"]), (&json!("retry"), &json!(1)), "{reason}");
    assert_eq!(reason["reason"], "exited with code 1");
}

#[tokio::test]
async fn a_shared_folder_that_is_not_the_same_everywhere_is_warned_of() {
    let master = Master::start().await;
    let submit = async |spec: Value| {
        let reply = master.send_json("POST", "/api/job", &spec).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        reply.json()
    };
    let codes = |job: &Value| {
        let all = job["warnings"].as_array().cloned().unwrap_or_default();
        all.iter().map(|it| it["code"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    register(&master, "a", json!({"host": "one"})).await;
    let job = submit(json!({"command": "true"})).await;
    assert_eq!(codes(&job), [""; 0], "one host has one folder");

    register(&master, "b", json!({"host": "two", "labels": {"disk": "big"}})).await;
    let job = submit(json!({"command": "true"})).await;
    assert_eq!(codes(&job), ["sharedFolder"]);
    assert!(job["warnings"][0]["text"].as_str().unwrap().contains("2 (one, two)"), "{job}");
    let explained = master.get(&format!("/api/job/{}/explain", job["id"])).await.json();
    assert_eq!(explained["warnings"], job["warnings"]);
    assert_eq!(master.job(job["id"].as_i64().unwrap()).await.get("warnings"), None);

    let list = submit(json!([{"command": "a"}, {"command": "b"}])).await;
    let told: Vec<_> = list.as_array().unwrap().iter().map(|job| codes(job).len()).collect();
    assert_eq!(told, [1, 0], "once for jobs with the same requirements");
    for kept in [
        json!({"command": "true", "workspace": "private"}),
        json!({"command": "true", "requires": {"disk": "big"}}),
        json!({"command": "true", "queue": "elsewhere"}),
    ] {
        assert_eq!(codes(&submit(kept).await), [""; 0]);
    }

    // Both workers declare that they share their folder.
    register(&master, "a", json!({"host": "one", "labels": {"files": "nfs"}})).await;
    register(&master, "b", json!({"host": "two", "labels": {"files": "nfs"}})).await;
    assert_eq!(codes(&submit(json!({"command": "true"})).await), [""; 0]);
}
