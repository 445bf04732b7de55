//! Workers that go away, and what happens to their jobs.

use orchestra_contracts::{JobStatus, Outcome, paths};
use orchestra_tests::{Plan, engine, wait};
use rustix::process::Signal;
use serde_json::json;

/// Runs for long the first time, and ends at once the second time.
const SECOND_TIME_LUCKY: &str = "[ -e begun ] && echo again && exit; touch begun; sleep 600";

#[tokio::test]
async fn a_worker_that_is_told_to_end_gives_its_job_to_the_next() {
    let plan = Plan::default().shared_files().setting("ORCHESTRA_GRACE", "1s");
    let Some(mut stack) = plan.start().await else { return };
    let job = stack.api.submit(&json!({"command": SECOND_TIME_LUCKY, "maxRetries": 1})).await;
    let begun = stack.files().join("begun");
    wait::until("the job to begin", wait::JOB, async || begun.exists().then_some(())).await;

    let mut first = stack.take_worker();
    first.program.terminate().await;
    engine::all_gone(&first.name).await;
    assert_eq!(stack.api.job(job.id).await.status, JobStatus::Pending);
    stack.add_worker().await;
    let job = stack.api.finished(job.id).await;
    assert_eq!((job.status, job.output.as_str()), (JobStatus::Completed, "again\n"), "{job:?}");
    assert_eq!(job.retry_count, 0, "the command's retries are unspent");
    assert_eq!(stack.api.attempts(job.id).await[0].outcome, Some(Outcome::HandedBack));
    stack.stop().await;
}

/// A draining worker receives orders for as long as it waits for its jobs.
#[tokio::test]
async fn a_job_of_a_worker_that_drains_can_be_cancelled() {
    let plan = Plan::default().shared_files().setting("ORCHESTRA_GRACE", "10m");
    let Some(mut stack) = plan.start().await else { return };
    let waits = "trap 'echo bye; exit 7' TERM; touch begun; while :; do sleep 0.1; done";
    let job = stack.api.command(waits).await;
    let begun = stack.files().join("begun");
    wait::until("the job to begin", wait::JOB, async || begun.exists().then_some(())).await;

    let mut first = stack.take_worker();
    first.program.signal(Signal::TERM);
    wait::until("the worker to drain", wait::SOON, async || {
        first.program.printed().contains("shutting down").then_some(())
    })
    .await;
    assert!(first.program.ended().is_none(), "it waits for its job");
    let reply = stack.api.post(&paths::cancel(job.id), &json!({})).await;
    assert_eq!(reply.status, 202, "{reply:?}");
    let job = stack.api.finished(job.id).await;
    assert_eq!((job.status, job.output.as_str()), (JobStatus::Cancelled, "bye\n"), "{job:?}");
    let ended = wait::until("the worker to end", wait::SOON, async || first.program.ended()).await;
    assert!(ended.success(), "{}", first.program.printed());
    engine::all_gone(&first.name).await;
    stack.stop().await;
}

/// Only the container itself is left to end it.
#[tokio::test]
async fn a_killed_worker_costs_its_job_an_attempt_and_no_retry() {
    let plan = Plan::default().shared_files().setting("ORCHESTRA_LEASE", "5s");
    let Some(mut stack) = plan.start().await else { return };
    let job = stack.api.submit(&json!({"command": SECOND_TIME_LUCKY, "maxRetries": 1})).await;
    let begun = stack.files().join("begun");
    wait::until("the job to begin", wait::JOB, async || begun.exists().then_some(())).await;

    let mut first = stack.take_worker();
    first.program.kill();
    stack.add_worker().await;
    let job = stack.api.finished(job.id).await;
    assert_eq!((job.status, job.output.as_str()), (JobStatus::Completed, "again\n"), "{job:?}");
    assert_eq!(job.retry_count, 0, "the command's retries are unspent");
    assert_eq!(stack.api.attempts(job.id).await[0].outcome, Some(Outcome::Lost));
    wait::until("the container to end itself", wait::SOON, async || {
        engine::running(&first.name).await.is_empty().then_some(())
    })
    .await;
    engine::remove_containers(vec![first.name]);
    stack.stop().await;
}
