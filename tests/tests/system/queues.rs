//! Jobs that wait for a time, for a worker with their labels, or for a queue; and how the wait is
//! explained.

use std::time::Duration;

use orchestra_contracts::{Job, JobId, JobStatus};
use orchestra_tests::{Plan, Stack, Way, engine, program::Program, wait};
use serde_json::{Value, json};

async fn explained(stack: &Stack, id: JobId) -> Vec<String> {
    let ran = stack.cli(&["explain", &id.to_string(), "-o", "json"]).await.expect(0);
    let explanation: Value = serde_json::from_str(&ran.stdout).expect("it is JSON");
    let reasons = explanation["reasons"].as_array().expect("there are reasons").iter();
    reasons.map(|reason| reason["code"].as_str().unwrap_or_default().to_owned()).collect()
}

fn began(job: &Job) -> Duration {
    let waited = job.started_at.expect("it began").duration_since(job.created_at);
    Duration::try_from(waited).expect("it began after it was submitted")
}

#[tokio::test]
async fn a_job_put_off_begins_after_its_time_and_not_before() {
    let Some(stack) = Plan::default().start().await else { return };
    let late = stack.cli(&["submit", "--delay", "15s", "true"]).await.expect(0);
    let late = JobId(late.stdout.trim().parse().unwrap());
    assert_eq!(explained(&stack, late).await, ["notBefore"]);
    let soon = stack.api.run(&json!({"command": "true"})).await;
    assert_eq!(soon.status, JobStatus::Completed);
    let late = stack.api.finished(late).await;
    assert_eq!(late.status, JobStatus::Completed, "{late:?}");
    assert!(began(&late) >= Duration::from_secs(15), "{late:?}");
    assert!(began(&soon) < Duration::from_secs(15), "the others may run: {soon:?}");
    stack.stop().await;
}

#[tokio::test]
async fn a_job_goes_to_the_worker_with_its_labels_or_waits_for_one() {
    let Some(mut stack) = Plan::default().start().await else { return };
    let waits = stack.cli(&["submit", "--require", "gpu=yes", "true"]).await.expect(0);
    let waits = JobId(waits.stdout.trim().parse().unwrap());
    assert_eq!(explained(&stack, waits).await, ["noMatch"]);
    let told = stack.cli(&["explain", "@latest"]).await.expect(0).stdout;
    assert!(told.contains("lacks the label gpu=yes"), "{told}");

    let settings = vec![("ORCHESTRA_LABELS", "gpu=yes,zone=a".to_owned())];
    stack.add_worker_by(Way { settings, ..Way::default() }).await;
    let labelled = stack.workers[1].name.clone();
    for id in [waits, JobId(2), JobId(3)] {
        if id != waits {
            let both = json!({"gpu": "yes", "zone": "a"});
            assert_eq!(
                stack.api.submit(&json!({"command": "true", "requires": both})).await.id,
                id
            );
        }
        let job = stack.api.finished(id).await;
        assert_eq!(job.status, JobStatus::Completed, "{job:?}");
        assert_eq!(job.assigned_worker.map(|name| name.to_string()), Some(labelled.clone()));
    }
    let shown = stack.cli(&["workers"]).await.expect(0).stdout;
    assert!(shown.contains("gpu=yes,zone=a"), "{shown}");
    stack.stop().await;
}

#[tokio::test]
async fn a_paused_queue_waits_and_run_says_so() {
    let Some(mut stack) = Plan::default().start().await else { return };
    let _ = stack.cli(&["queues", "pause", "default"]).await.expect(0);
    stack.kill_master();
    stack.restart_master().await;
    let log = stack.folder().join("run.log");
    let mut run = Program::start("run", stack.command(&["run", "echo done"]), log);
    wait::until("run to say why it waits", wait::SOON, async || {
        run.printed().contains("job 1 waits: queue default has been paused").then_some(())
    })
    .await;
    assert_eq!(stack.api.job(JobId(1)).await.status, JobStatus::Pending);
    assert_eq!(explained(&stack, JobId(1)).await[0], "queuePaused");
    let shown = stack.cli(&["queues", "resume", "default"]).await.expect(0).stdout;
    assert!(shown.contains("open"), "{shown}");
    let status = wait::until("run to end", wait::JOB, async || run.ended()).await;
    assert!(status.success() && run.printed().contains("done"), "{}", run.printed());
    stack.stop().await;
}

#[tokio::test]
async fn a_bounded_queue_runs_no_more_than_it_may() {
    let Some(stack) = Plan::default().slots(4).start().await else { return };
    let _ = stack.cli(&["queues", "limit", "default", "1"]).await.expect(0);
    for _ in 0..4 {
        stack.api.command("sleep 0.3").await;
    }
    for id in 1..=4 {
        let job = stack.api.finished(JobId(id)).await;
        assert_eq!(job.status, JobStatus::Completed, "{job:?}");
    }
    let jobs = stack.api.jobs("").await;
    for pair in jobs.windows(2) {
        assert!(pair[1].started_at >= pair[0].finished_at, "two ran at once: {pair:?}");
    }
    stack.stop().await;
}

#[tokio::test]
async fn a_drained_worker_finishes_what_it_has_and_takes_nothing_more() {
    let Some(mut stack) = Plan::default().start().await else { return };
    let held = stack.api.command("until [ -e go ]; do sleep 0.1; done; echo went").await;
    stack.api.reaches(held.id, JobStatus::Running).await;
    let name = stack.workers[0].name.clone();
    let told = stack.cli(&["drain", &name]).await.expect(0);
    assert!(told.stderr.contains("finishes what it runs first: 1"), "{told:?}");

    let waits = stack.api.command("true").await;
    std::fs::write(stack.files().join("go"), "").unwrap();
    let held = stack.api.finished(held.id).await;
    assert_eq!((held.status, held.output.as_str()), (JobStatus::Completed, "went\n"), "{held:?}");
    // The drain survives a restart of the master and of the worker.
    stack.kill_master();
    stack.restart_master().await;
    stack.workers[0].program.terminate().await;
    engine::all_gone(&name).await;
    stack.restart_worker().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(stack.api.job(waits.id).await.status, JobStatus::Pending);
    assert_eq!(explained(&stack, waits.id).await, ["noMatch"]);
    let shown = stack.cli(&["workers"]).await.expect(0).stdout;
    assert!(shown.contains("draining"), "{shown}");

    let _ = stack.cli(&["drain", &name, "--undo"]).await.expect(0);
    assert_eq!(stack.api.finished(waits.id).await.status, JobStatus::Completed);
    stack.stop().await;
}

#[tokio::test]
async fn what_nobody_can_take_is_told_at_once_and_how_it_ended_later() {
    let Some(mut stack) = Plan::default().workers(0).start().await else { return };
    let job = stack.api.command("exit 127").await;
    assert_eq!(explained(&stack, job.id).await, ["noWorker"]);
    let logs = stack.folder().join("logs.log");
    let logs = Program::start("logs", stack.command(&["logs", "-f", "1"]), logs);
    wait::until("logs -f to say why it waits", wait::SOON, async || {
        logs.printed().contains("job 1 waits: no worker serves queue default").then_some(())
    })
    .await;
    if engine::is_there().await {
        stack.add_worker().await;
        let job = stack.api.finished(job.id).await;
        assert_eq!(job.exit_code, Some(127), "{job:?}");
        let told = stack.cli(&["explain", "1"]).await.expect(0).stdout;
        assert!(told.contains("a command was not found in the image"), "{told}");
    }
    drop(logs);
    stack.stop().await;
}
