//! Loops of kills: whatever dies at whatever moment, nothing is lost or duplicated.

use std::time::Duration;

use orchestra_contracts::{JobStatus, Outcome};
use orchestra_tests::{Plan, Stack, engine, wait};
use rand::RngExt;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::crashes::{numbered, until_log_has};

fn millis(range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rand::rng().random_range(range))
}

async fn is_exact(stack: &Stack, job: &orchestra_contracts::Job, lines: usize) {
    assert_eq!((job.status, job.retry_count), (JobStatus::Completed, 0), "{job:?}");
    let log = stack.api.log(job.id, "").await;
    assert!(log == numbered(lines), "{} of {} bytes", log.len(), numbered(lines).len());
}

#[tokio::test]
async fn a_worker_killed_ten_times_at_random_costs_its_job_nothing() {
    const LINES: usize = 400;
    let Some(mut stack) = Plan::default().start().await else { return };
    let command = format!("for ((i = 1; i <= {LINES}; i++)); do echo \"line $i\"; sleep 0.1; done");
    let job = stack.api.command(&command).await;
    until_log_has(&stack, job.id, 1).await;
    let name = stack.workers[0].name.clone();
    let container = engine::running(&name).await;
    for kill in 0..10 {
        sleep(millis(0..900)).await;
        stack.workers[0].program.kill();
        sleep(millis(0..300)).await;
        stack.restart_worker().await;
        assert_eq!(engine::running(&name).await, container, "after kill {kill}");
    }
    let job = stack.api.finished(job.id).await;
    is_exact(&stack, &job, LINES).await;
    assert_eq!(job.attempt.map(|attempt| attempt.0), Some(1));
    stack.stop().await;
}

/// Steps of 90 ms cover the claim, the create, the start, the end and the report.
#[tokio::test]
async fn at_whatever_step_a_worker_dies_its_job_ends_once() {
    let plan = Plan::default().setting("ORCHESTRA_LEASE", "4s");
    let Some(mut stack) = plan.setting("ORCHESTRA_RETRY_BACKOFF", "50ms").start().await else {
        return;
    };
    for step in 0..14 {
        let job = stack.api.command("for i in 1 2 3; do echo \"line $i\"; sleep 0.1; done").await;
        sleep(Duration::from_millis(step * 90)).await;
        stack.workers[0].program.kill();
        stack.restart_worker().await;
        let job = stack.api.finished(job.id).await;
        assert_eq!((job.status, job.retry_count), (JobStatus::Completed, 0), "{job:?}");
        let attempts = stack.api.attempts(job.id).await;
        let (last, before) = attempts.split_last().expect("it was run");
        assert!(
            before
                .iter()
                .all(|it| it.outcome.as_ref().is_some_and(|it| {
                    it.blame() == orchestra_contracts::Blame::Infrastructure
                })),
            "{attempts:?}"
        );
        let log = stack.api.log(job.id, &format!("?attempt={}", last.number)).await;
        assert_eq!(log, numbered(3), "killed {} ms after the submit", step * 90);
    }
    stack.stop().await;
}

#[tokio::test]
async fn a_log_is_exact_though_the_master_is_killed_while_it_is_stored() {
    const LINES: usize = 2_000_000;
    let Some(mut stack) = Plan::default().setting("ORCHESTRA_LOG_HEAD", "64m").start().await else {
        return;
    };
    let command = format!("seq {LINES} | sed 's/^/line /'");
    let job = stack.api.command(&command).await;
    until_log_has(&stack, job.id, 1).await;
    let limit = Instant::now() + wait::JOB;
    let mut kills = 0;
    while kills < 12 && Instant::now() < limit {
        sleep(millis(500..2_000)).await;
        if stack.api.job(job.id).await.status.is_final() {
            break;
        }
        stack.kill_master();
        sleep(millis(0..500)).await;
        stack.restart_master().await;
        kills += 1;
    }
    let job = stack.api.finished(job.id).await;
    is_exact(&stack, &job, LINES).await;
    assert_eq!(job.attempt.map(|attempt| attempt.0), Some(1), "no kill costs an attempt");
    assert!(kills > 0, "the job ended before the first kill");
    stack.stop().await;
}

#[tokio::test]
async fn a_master_away_for_longer_than_a_lease_costs_one_attempt_and_doubles_nothing() {
    let plan = Plan::default().setting("ORCHESTRA_LEASE", "5s");
    let Some(mut stack) = plan.start().await else { return };
    let command = "[ -e begun ] && echo again && exit; touch begun; \
                   i=0; while true; do i=$((i + 1)); echo \"line $i\"; sleep 0.05; done";
    let job = stack.api.submit(&json!({"command": command, "maxRetries": 1})).await;
    until_log_has(&stack, job.id, 100).await;
    stack.kill_master();
    let killed = Instant::now();
    let name = stack.workers[0].name.clone();
    wait::until("the container to end itself", wait::SOON, async || {
        engine::running(&name).await.is_empty().then_some(())
    })
    .await;
    assert!(killed.elapsed() < Duration::from_secs(5 + 3), "{:?}", killed.elapsed());
    stack.restart_master().await;
    let job = stack.api.finished(job.id).await;
    assert_eq!((job.status, job.retry_count), (JobStatus::Completed, 0), "{job:?}");
    let attempts = stack.api.attempts(job.id).await;
    let outcomes: Vec<_> = attempts.into_iter().map(|attempt| attempt.outcome).collect();
    assert_eq!(outcomes, [Some(Outcome::Lost), Some(Outcome::Exited { code: 0 })]);
    let log = String::from_utf8(stack.api.log(job.id, "?attempt=1").await.to_vec());
    let log = log.expect("it is text");
    assert_eq!(log, numbered(log.lines().count()), "a prefix of what it wrote");
    assert_eq!(stack.api.log(job.id, "?attempt=2").await, "again\n");
    stack.stop().await;
}
