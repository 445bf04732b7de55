//! The REST API through the real curl: the seven original calls, the other calls, and a worker written
//! with curl alone. None of it needs an engine.

use std::path::Path;

use orchestra_contracts::{Attempt, Job, JobStatus, ProblemKind, worker::Worker};
use orchestra_tests::{Plan, Reply, Stack, curl, shell, wait};
use serde_json::{Value, json};

/// A master without workers.
async fn master() -> Stack {
    Plan::default().workers(0).start().await.expect("a master alone needs no engine")
}

async fn get(stack: &Stack, path: &str) -> Reply {
    curl([stack.api.url(path)]).await
}

async fn post(stack: &Stack, path: &str, body: &str) -> Reply {
    curl(["-H", "Content-Type: application/json", "-d", body, &stack.api.url(path)]).await
}

async fn delete(stack: &Stack, path: &str) -> Reply {
    curl(["-X", "DELETE", &stack.api.url(path)]).await
}

/// A `POST` without a body, as `curl -X POST` sends it.
async fn poke(stack: &Stack, path: &str) -> Reply {
    curl(["-X", "POST", &stack.api.url(path)]).await
}

async fn update(stack: &Stack, body: Value) -> Reply {
    post(stack, "/api/job/update", &body.to_string()).await
}

fn ids(reply: &Reply) -> Vec<i64> {
    reply.json::<Vec<Job>>().into_iter().map(|job| job.id.0).collect()
}

#[tokio::test]
async fn the_seven_calls() {
    let stack = master().await;
    let body = r#"{"command": "g++ Hello.cpp -o Hello && ./Hello", "maxRetries": 3}"#;

    let created = post(&stack, "/api/job", body).await.expect(201);
    assert_eq!(created.header("location"), Some("/api/job/1"));
    assert_eq!(created.header("content-type"), Some("application/json"));
    let job: Value = created.json();
    let wanted = json!({
        "id": 1, "command": "g++ Hello.cpp -o Hello && ./Hello", "maxRetries": 3,
        "status": "Pending", "retryCount": 0, "assignedWorker": null, "output": "", "error": "",
        "exitCode": null, "startedAt": null, "finishedAt": null
    });
    for (name, value) in wanted.as_object().unwrap() {
        assert_eq!(job.get(name), Some(value), "{name} of {job}");
    }
    let _ = post(&stack, "/api/job", r#"{"command": "true"}"#).await.expect(201);
    let _ = post(&stack, "/api/job", r#"{"command": "true", "priority": 5}"#).await.expect(201);

    assert_eq!(ids(&get(&stack, "/api/job/pending").await.expect(200)), [3, 1, 2]);

    let claimed: Job = post(&stack, "/api/job/claim", r#""curl-1""#).await.expect(200).json();
    assert_eq!((claimed.id.0, claimed.status), (3, JobStatus::Assigned));
    assert_eq!(claimed.assigned_worker.unwrap().as_str(), "curl-1");

    let running = json!({"id": 3, "status": "Running", "assignedWorker": "curl-1"});
    let job: Job = update(&stack, running).await.expect(200).json();
    assert_eq!(job.status, JobStatus::Running);
    let completed = json!({
        "id": 3, "status": "Completed", "assignedWorker": "curl-1",
        "output": "all good\n", "error": "a warning\n", "exitCode": 0
    });
    let job: Job = update(&stack, completed).await.expect(200).json();
    assert_eq!((job.status, job.exit_code), (JobStatus::Completed, Some(0)));
    assert_eq!((job.output.as_str(), job.error.as_str()), ("all good\n", "a warning\n"));
    assert!(job.finished_at.is_some() && job.started_at.is_some());

    assert_eq!(ids(&get(&stack, "/api/job").await.expect(200)).len(), 3);
    assert_eq!(ids(&get(&stack, "/api/job?status=Completed").await.expect(200)), [3]);
    assert_eq!(get(&stack, "/api/job/3").await.expect(200).json::<Job>(), job);
    let _ = get(&stack, "/api/job/4").await.problem(404, ProblemKind::NotFound);

    let waited: Job = get(&stack, "/api/job/1?wait=200ms").await.expect(200).json();
    assert_eq!(waited.status, JobStatus::Pending, "the wait is over before the job");

    let _ = delete(&stack, "/api/job/3").await.expect(204);
    let _ = get(&stack, "/api/job/3").await.problem(404, ProblemKind::NotFound);
    stack.stop().await;
}

#[tokio::test]
async fn a_list_is_read_page_by_page() {
    let stack = master().await;
    for queue in ["default", "night", "default", "night", "default"] {
        let body = json!({"command": "true", "queue": queue, "labels": {"team": queue}});
        let _ = post(&stack, "/api/job", &body.to_string()).await.expect(201);
    }
    assert_eq!(ids(&get(&stack, "/api/job?queue=night").await.expect(200)).len(), 2);
    assert_eq!(ids(&get(&stack, "/api/job?label=team%3Dnight").await.expect(200)).len(), 2);

    let mut seen = Vec::new();
    let mut next = Some("/api/job?limit=2".to_owned());
    while let Some(path) = next {
        let page = get(&stack, &path).await.expect(200);
        assert!(ids(&page).len() <= 2);
        seen.extend(ids(&page));
        next = page.header("link").map(|link| {
            let (address, relation) = link.split_once('>').unwrap();
            assert!(relation.contains("rel=\"next\""), "{link}");
            address.trim_start_matches('<').to_owned()
        });
    }
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 3, 4, 5]);
    stack.stop().await;
}

#[tokio::test]
async fn a_worker_of_curl_and_sed() {
    let stack = master().await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/system/scripts/worker.sh");
    let base = stack.api.url("");
    let folder = tempfile::tempdir().unwrap();
    // The script writes a file with standard error into its working folder.
    let inside = format!("cd '{}' && exec bash '{}'", folder.path().display(), script.display());
    let start = folder.path().join("start.sh");
    std::fs::write(&start, inside).unwrap();
    let work = async || shell(&start, &[("BASE", &base), ("NAME", "curl-worker")]).await;

    assert_eq!(work().await, "nothing to do\n");
    let good = stack.api.command("echo one two | tr o 0").await;
    let bad = stack.api.command("echo partly; ls /no/such/file; exit 3").await;
    assert_eq!(work().await, format!("job {}: 0\n", good.id));
    assert_eq!(work().await, format!("job {}: 3\n", bad.id));
    assert_eq!(work().await, "nothing to do\n");

    let good = stack.api.job(good.id).await;
    assert_eq!(
        (good.status, good.assigned_worker.unwrap().as_str()),
        (JobStatus::Completed, "curl-worker")
    );
    let bad = stack.api.job(bad.id).await;
    assert_eq!(
        (bad.status, bad.exit_code, bad.output.as_str()),
        (JobStatus::Failed, Some(3), "partly\n")
    );
    assert!(bad.error.contains("/no/such/file"), "{bad:?}");
    assert_eq!(stack.api.log(bad.id, "?stream=stdout").await, "partly\n");
    stack.stop().await;
}

#[tokio::test]
async fn a_failed_job_comes_back_to_a_worker_of_curl() {
    let stack = master().await;
    let _ = post(&stack, "/api/job", r#"{"command": "false", "maxRetries": 1}"#).await.expect(201);
    for attempt in 1..=2 {
        let job: Job = wait::until("the job to be claimed", wait::SOON, async || {
            let reply = post(&stack, "/api/job/claim", "\"me\"").await;
            (reply.status == 200).then(|| reply.json())
        })
        .await;
        assert_eq!((job.id.0, job.attempt.unwrap().0, job.retry_count), (1, attempt, attempt - 1));
        // A status is accepted as a number, in any case, and as text.
        let _ =
            update(&stack, json!({"id": 1, "status": 2, "assignedWorker": "me"})).await.expect(200);
        let failed = json!({"id": 1, "status": "failed", "assignedWorker": "me", "exitCode": 1});
        let job: Job = update(&stack, failed).await.expect(200).json();
        let status = if attempt == 1 { JobStatus::Pending } else { JobStatus::Failed };
        assert_eq!(job.status, status, "{job:?}");
    }
    let attempts: Vec<Attempt> = get(&stack, "/api/job/1/attempts").await.expect(200).json();
    assert_eq!(
        attempts.iter().map(|a| (a.number.0, a.exit_code)).collect::<Vec<_>>(),
        [(1, Some(1)), (2, Some(1))]
    );
    stack.stop().await;
}

#[tokio::test]
async fn steps_that_are_not_possible_are_refused() {
    let stack = master().await;
    let step =
        |status: &str, worker: &str| json!({"id": 1, "status": status, "assignedWorker": worker});
    let _ = update(&stack, step("Running", "me")).await.problem(404, ProblemKind::NotFound);
    let _ = post(&stack, "/api/job", r#"{"command": "true"}"#).await.expect(201);
    assert_eq!(update(&stack, step("Running", "me")).await.status, 409, "nobody claimed it");
    let _ = post(&stack, "/api/job/claim", "\"me\"").await.expect(200);
    let _ = update(&stack, step("Running", "you")).await.problem(409, ProblemKind::LeaseLost);
    let _ = update(&stack, step("Completed", "me")).await.expect(200);
    assert_eq!(update(&stack, step("Running", "me")).await.status, 409, "it has ended");
    let _ = poke(&stack, "/api/job/1/cancel").await.problem(409, ProblemKind::IllegalStep);
    assert_eq!(stack.api.job(orchestra_contracts::JobId(1)).await.status, JobStatus::Completed);
    stack.stop().await;
}

#[tokio::test]
async fn what_stands_beside_the_seven() {
    let stack = master().await;
    let _ = post(&stack, "/api/job", r#"{"command": "true"}"#).await.expect(201);
    let cancelled = poke(&stack, "/api/job/1/cancel").await;
    assert!(matches!(cancelled.status, 200 | 202), "{cancelled:?}");
    let job: Job = get(&stack, "/api/job/1?wait=5s").await.expect(200).json();
    assert_eq!(job.status, JobStatus::Cancelled);

    let again = poke(&stack, "/api/job/1/retry").await;
    assert!(again.status < 300, "{again:?}");
    let job: Job = get(&stack, "/api/job/1").await.expect(200).json();
    assert_eq!(job.status, JobStatus::Pending);

    let _ = post(&stack, "/api/job/claim", "\"me\"").await.expect(200);
    let done = json!({"id": 1, "status": 3, "assignedWorker": "me", "output": "log of mine\n"});
    let _ = update(&stack, done).await.expect(200);
    let log = get(&stack, "/api/job/1/log").await.expect(200);
    assert_eq!(log.text(), "log of mine\n");
    assert!(log.header("content-type").unwrap().starts_with("text/plain"));
    let address = stack.api.url("/api/job/1/log?follow=true");
    assert_eq!(curl(["-N", &address]).await.expect(200).text(), "log of mine\n");

    let registration = json!({"slots": 1, "queues": ["default"], "version": "0"}).to_string();
    let address = stack.api.url("/api/worker/me");
    let put = ["-X", "PUT", "-H", "Content-Type: application/json", "-d", &registration, &address];
    let _ = curl(put).await.expect(200);
    let workers: Vec<Worker> = get(&stack, "/api/worker").await.expect(200).json();
    assert_eq!(workers.len(), 1);
    assert!(workers[0].online && workers[0].name.as_str() == "me");

    let _ = get(&stack, "/healthz").await.expect(200);
    let _ = get(&stack, "/readyz").await.expect(200);
    stack.stop().await;
}
