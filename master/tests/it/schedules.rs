//! Schedules, under a clock that the test sets.

use orchestra_contracts::Span;
use serde_json::{Value, json};

use crate::{
    access,
    faulty::{Fault, Plan},
    harness::Master,
};

const MINUTE: Span = Span::from_secs(60);
const HOUR: Span = Span::from_secs(3600);
const DAY: Span = Span::from_secs(86_400);

fn hourly(more: Value) -> Value {
    let mut body = json!({"name": "sweep", "cron": "0 * * * *", "spec": {"command": "true"}});
    let Value::Object(more) = more else { panic!("invalid fields: {more}") };
    body.as_object_mut().unwrap().extend(more);
    body
}

async fn create(master: &Master, more: Value) -> Value {
    let reply = master.post("/api/schedule", hourly(more)).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    reply.json()
}

async fn read(master: &Master) -> Value {
    let reply = master.get("/api/schedule/sweep").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

async fn pause(master: &Master, paused: bool) -> Value {
    let change = json!({"paused": paused});
    let reply = master.send_json("PATCH", "/api/schedule/sweep", &change).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

/// Runs one pass of the upkeep; returns how many jobs it started.
async fn pass(master: &Master) -> usize {
    master.service.step_schedules().await.unwrap()
}

/// Advances the clock, which starts at 03:04:05, and runs one pass.
async fn after(master: &Master, span: Span) -> usize {
    master.clock.advance(span);
    pass(master).await
}

/// The statuses of all jobs, oldest first.
async fn statuses(master: &Master) -> Vec<String> {
    let jobs = master.get("/api/job").await.json();
    let jobs = jobs.as_array().unwrap().iter();
    jobs.map(|job| job["status"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn it_is_made_shown_paused_and_removed() {
    let master = Master::start().await;
    let more = json!({"timeZone": "europe/berlin", "cron": "0 3 * * *", "catchUp": "30m",
        "overlap": "replace", "spec": {"command": "make", "env": {"A": "b"}, "delay": "10s"}});
    let reply = master.post("/api/schedule", hourly(more)).await;
    assert_eq!((reply.status.as_u16(), reply.header("location")), (201, "/api/schedule/sweep"));
    let made = json!({
        "name": "sweep", "cron": "0 3 * * *", "timeZone": "europe/berlin", "overlap": "replace",
        "catchUp": "30m", "paused": false, "lastTime": null, "lastJob": null, "skipped": 0,
        "spec": {"command": "make", "maxRetries": 0, "queue": "default", "env": {"A": "b"}, "delay": "10s"},
        "nextTimes": ["2026-01-03T02:00:00Z", "2026-01-04T02:00:00Z", "2026-01-05T02:00:00Z"],
        "createdAt": "2026-01-02T03:04:05Z",
    });
    assert_eq!(reply.json(), made);
    assert_eq!(read(&master).await, made);
    assert_eq!(master.get("/api/schedule").await.json(), json!([made]));

    let again = master.post("/api/schedule", hourly(json!({}))).await;
    assert_eq!((again.status.as_u16(), again.problem().as_str()), (409, "exists"));
    let paused = pause(&master, true).await;
    assert_eq!(
        (&paused["paused"], &paused["pausedSince"]),
        (&json!(true), &json!("2026-01-02T03:04:05Z"))
    );
    assert_eq!(paused["nextTimes"], made["nextTimes"]);
    assert_eq!(pause(&master, false).await, made);

    assert_eq!(master.bare("DELETE", "/api/schedule/sweep").await.status, 204);
    for (method, path) in [("GET", "/api/schedule/sweep"), ("DELETE", "/api/schedule/sweep")] {
        assert_eq!(master.bare(method, path).await.problem(), "not-found", "{method}");
    }
    assert_eq!(master.get("/api/schedule").await.json(), json!([]));
}

#[tokio::test]
async fn a_job_begins_at_each_of_its_times_and_once() {
    let master = Master::start().await;
    create(&master, json!({"overlap": "allow"})).await;
    assert_eq!(after(&master, Span::from_secs(55 * 60)).await, 0, "03:59:05");
    assert_eq!(after(&master, MINUTE).await, 1);
    assert_eq!(pass(&master).await, 0);
    // Another master on the same database, or this one after a restart.
    assert_eq!(master.restarted().step_schedules().await.unwrap(), 0);
    master.clock.advance(HOUR);
    assert_eq!(master.restarted().step_schedules().await.unwrap(), 1);
    assert_eq!(pass(&master).await, 0);
    let jobs = master.get("/api/job?label=schedule%3Dsweep").await.json();
    assert_eq!(jobs.as_array().unwrap().len(), 2, "{jobs}");
    assert_eq!(jobs[0]["labels"], json!({"schedule": "sweep"}));
    assert_eq!(
        (&jobs[0]["timeout"], &jobs[0]["createdAt"]),
        (&json!("1h"), &json!("2026-01-02T04:00:05Z"))
    );
    let shown = read(&master).await;
    assert_eq!(
        (&shown["lastTime"], &shown["lastJob"]),
        (&json!("2026-01-02T05:00:00Z"), &json!(2))
    );
    assert_eq!(shown["skipped"], 0);
    assert_eq!(master.claim("w").await.unwrap().job.spec.command, "true");
}

#[tokio::test]
async fn many_that_are_due_begin_in_one_pass() {
    let master = Master::start().await;
    for number in 0..50 {
        create(&master, json!({"name": format!("s{number}")})).await;
    }
    assert_eq!(after(&master, HOUR).await, 50);
    assert_eq!(pass(&master).await, 0);
}

#[tokio::test]
async fn a_delay_counts_from_the_time_it_began() {
    let master = Master::start().await;
    create(&master, json!({"spec": {"command": "true", "delay": "10m"}})).await;
    assert_eq!(after(&master, HOUR).await, 1);
    assert_eq!(master.job(1).await["notBefore"], "2026-01-02T04:14:05Z");
}

#[tokio::test]
async fn a_master_that_was_away_makes_up_for_the_newest_time_only() {
    let master = Master::start().await;
    create(&master, json!({"cron": "0 3 * * *", "catchUp": "2h"})).await;
    // Until 04:34:05, four days later.
    master.clock.advance(Span(DAY.0 * 4));
    assert_eq!(master.restarted().step_schedules().await.unwrap(), 1);
    let shown = read(&master).await;
    assert_eq!(shown["lastTime"], "2026-01-06T03:00:00Z");
    assert_eq!(
        (&shown["skipped"], &shown["skippedTime"]),
        (&json!(3), &json!("2026-01-05T03:00:00Z"))
    );
    assert_eq!(shown["skippedReason"], "a newer time was due as well");
    assert_eq!(shown["nextTimes"][0], "2026-01-07T03:00:00Z");

    // But a time that was missed by more than that starts nothing.
    master.clock.advance(Span(DAY.0 + HOUR.0 * 2));
    assert_eq!(master.restarted().step_schedules().await.unwrap(), 0);
    let shown = read(&master).await;
    assert_eq!(
        (&shown["skipped"], &shown["skippedTime"]),
        (&json!(4), &json!("2026-01-07T03:00:00Z"))
    );
    assert_eq!(shown["skippedReason"], "it was missed by more than 2h");
    assert_eq!(statuses(&master).await, ["Pending"]);
}

#[tokio::test]
async fn a_paused_one_begins_nothing_and_makes_up_for_what_is_not_too_late() {
    let master = Master::start().await;
    create(&master, json!({"catchUp": "10m"})).await;
    pause(&master, true).await;
    assert_eq!(after(&master, Span::from_secs(57 * 60)).await, 0, "04:01:05");
    pause(&master, false).await;
    assert_eq!(pass(&master).await, 1);
    let first = master.claim("w").await.unwrap();
    master.report(&first, "w", json!({"status": "Completed"})).await;
    pause(&master, true).await;
    assert_eq!(after(&master, Span::from_secs(90 * 60)).await, 0, "05:31:05");
    pause(&master, false).await;
    assert_eq!(pass(&master).await, 0);
    let shown = read(&master).await;
    assert_eq!(
        (&shown["skipped"], &shown["lastTime"]),
        (&json!(1), &json!("2026-01-02T04:00:00Z"))
    );
    assert_eq!(shown["nextTimes"][0], "2026-01-02T06:00:00Z");
}

#[tokio::test]
async fn one_that_skips_waits_for_the_end_of_its_job() {
    let master = Master::start().await;
    create(&master, json!({})).await;
    assert_eq!(after(&master, HOUR).await, 1);
    let held = master.claim("w").await.unwrap();
    assert_eq!(after(&master, HOUR).await, 0);
    let shown = read(&master).await;
    assert_eq!(
        (&shown["skipped"], &shown["skippedTime"]),
        (&json!(1), &json!("2026-01-02T05:00:00Z"))
    );
    assert_eq!(shown["skippedReason"], "job 1, which it began before, had not ended");
    master.report(&held, "w", json!({"status": "Completed"})).await;
    assert_eq!(pass(&master).await, 0, "the time is over");
    assert_eq!(after(&master, HOUR).await, 1);
    assert_eq!(statuses(&master).await, ["Completed", "Pending"]);
}

#[tokio::test]
async fn one_that_allows_begins_beside_its_job() {
    let master = Master::start().await;
    create(&master, json!({"overlap": "allow"})).await;
    for _ in 0..3 {
        assert_eq!(after(&master, HOUR).await, 1);
    }
    assert_eq!(statuses(&master).await, ["Pending"; 3]);
}

#[tokio::test]
async fn one_that_replaces_cancels_what_waits_and_begins() {
    let master = Master::start().await;
    create(&master, json!({"overlap": "replace"})).await;
    assert_eq!(after(&master, HOUR).await, 1);
    assert_eq!(after(&master, HOUR).await, 1);
    assert_eq!(statuses(&master).await, ["Cancelled", "Pending"]);
}

#[tokio::test]
async fn one_that_replaces_begins_when_the_worker_has_ended_the_older() {
    let master = Master::start().await;
    create(&master, json!({"overlap": "replace"})).await;
    assert_eq!(after(&master, HOUR).await, 1);
    let held = master.claim("w").await.unwrap();
    master.report(&held, "w", json!({"status": "Running"})).await;
    assert_eq!(after(&master, HOUR).await, 0);
    assert_eq!(master.job(1).await["cancelling"], true);
    assert_eq!(pass(&master).await, 0, "they never run at the same time");
    let cancelled = json!({"status": "Failed", "outcome": {"kind": "cancelled"}});
    let reply = master.report(&held, "w", cancelled).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(after(&master, MINUTE).await, 1);
    assert_eq!(statuses(&master).await, ["Cancelled", "Pending"]);
    let shown = read(&master).await;
    assert_eq!(
        (&shown["lastTime"], &shown["skipped"]),
        (&json!("2026-01-02T05:00:00Z"), &json!(0))
    );
}

#[tokio::test]
async fn a_job_that_no_worker_could_take_is_told_and_holds_up_no_other() {
    let master = Master::start().await;
    let large = json!({"command": "true", "resources": {"memory": "64g"}});
    create(&master, json!({"name": "large", "spec": large})).await;
    create(&master, json!({})).await;
    assert_eq!(after(&master, Span::from_secs(55 * 60)).await, 0, "03:59:05");
    let offer = json!({"cpus": 2, "memory": "1g", "pids": 256, "tmp": "64m", "network": "none",
        "images": ["gcc"]});
    let registration = json!({"slots": 1, "queues": ["default"], "version": "0", "offer": offer});
    let reply = master.send_json("PUT", "/api/worker/w", &registration).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(after(&master, MINUTE).await, 1, "the other one");
    let shown = master.get("/api/schedule/large").await.json();
    assert_eq!((&shown["skipped"], &shown["lastJob"]), (&json!(1), &Value::Null));
    let reason =
        "its job is refused: /resources/memory asks for 64g, and no worker allows more than 1g";
    assert_eq!(shown["skippedReason"], reason);
    let refused = master.post("/api/schedule", hourly(json!({"name": "b", "spec": large}))).await;
    assert_eq!(refused.json()["errors"][0]["pointer"], "/spec/resources/memory");
}

#[tokio::test]
async fn a_fault_at_any_moment_neither_doubles_nor_loses_a_time() {
    for fault in [Fault::Before, Fault::After] {
        let mut tried = 0;
        loop {
            let master = Master::start().await;
            create(&master, json!({"overlap": "allow"})).await;
            master.clock.advance(HOUR);
            let begin = master.faults.operations();
            tried += 1;
            master.faults.plan(Plan::Once(begin + tried, fault));
            let failed = master.service.step_schedules().await.is_err();
            master.faults.plan(Plan::Nothing);
            master.restarted().step_schedules().await.unwrap();
            assert_eq!(statuses(&master).await.len(), 1, "{fault:?} at {tried}");
            assert_eq!(read(&master).await["lastJob"], 1);
            if !failed {
                break;
            }
        }
        assert!(tried > 2, "{tried}");
    }
}

#[tokio::test]
async fn secrets_are_sealed_hidden_and_reach_the_worker() {
    let master = Master::start().await;
    let secret = "hunter2hunter2";
    let spec = json!({"command": "deploy", "secrets": {"TOKEN": secret}});
    let made = create(&master, json!({"spec": spec})).await;
    assert_eq!(made["spec"]["secrets"], json!({"TOKEN": "***"}));
    assert_eq!(read(&master).await["spec"]["secrets"], json!({"TOKEN": "***"}));
    assert_eq!(after(&master, HOUR).await, 1);
    assert_eq!(master.job(1).await["secrets"], json!({"TOKEN": "***"}));
    let claimed = master.claim("w").await.unwrap();
    assert_eq!(claimed.job.spec.secrets["TOKEN"].expose(), secret);
    let disk = master.on_disk();
    assert!(!disk.windows(secret.len()).any(|part| part == secret.as_bytes()));
}

#[tokio::test]
async fn a_queue_that_is_paused_holds_its_jobs_and_not_the_schedule() {
    let master = Master::start().await;
    master.send_json("PATCH", "/api/queue/default", &json!({"paused": true})).await;
    create(&master, json!({"overlap": "allow"})).await;
    assert_eq!(after(&master, HOUR).await, 1);
    assert_eq!(after(&master, HOUR).await, 1);
    assert!(master.claim("w").await.is_none());
}

#[tokio::test]
async fn who_may_submit_may_schedule() {
    let master = Master::with_tokens().await;
    let token = access::issue(&master, orchestra_contracts::Role::Client, None).await.token;
    let request = crate::harness::request("POST", "/api/schedule")
        .header("authorization", format!("Bearer {}", token.as_str()))
        .header("content-type", "application/json");
    let body = axum::body::Body::from(hourly(json!({})).to_string());
    assert_eq!(master.send(request.body(body).unwrap()).await.status, 201);
}

#[tokio::test]
async fn what_is_refused_says_where_and_what_to_write() {
    let master = Master::start().await;
    for (more, pointer, hint) in [
        (json!({"cron": "61 * * * *"}), "/cron", "@daily"),
        (json!({"cron": "0 0 30 2 *"}), "/cron", "@daily"),
        (json!({"timeZone": "Mars/Olympus"}), "/timeZone", "Europe/Berlin"),
    ] {
        let reply = master.post("/api/schedule", hourly(more)).await;
        let problem = reply.json();
        assert_eq!(
            (reply.problem().as_str(), &problem["errors"][0]["pointer"]),
            ("invalid", &json!(pointer))
        );
        assert!(problem["hint"].as_str().unwrap().contains(hint), "{problem}");
    }
    let all = hourly(json!({"timeZone": "x", "spec": {"command": "", "priority": 2000}}));
    let problem = master.post("/api/schedule", all).await.json();
    let errors = problem["errors"].as_array().unwrap();
    let pointers: Vec<_> = errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers, ["/timeZone", "/spec/command", "/spec/priority"]);
    assert_eq!(master.get("/api/schedule").await.json(), json!([]));
}
