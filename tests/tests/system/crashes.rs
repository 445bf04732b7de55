//! Workers that are killed or frozen. The next process of the same name takes their running jobs
//! over. A job that cannot be taken over is fenced and starts again.

use std::time::{Duration, Instant};

use orchestra_contracts::{AttemptNo, JobId, JobStatus, Outcome};
use orchestra_tests::{Plan, Stack, engine, say, wait};
use rustix::process::Signal;
use serde_json::json;
use tokio::time::sleep;

pub(crate) fn numbered(count: usize) -> String {
    let lines: Vec<_> = (1..=count).map(|n| format!("line {n}\n")).collect();
    lines.concat()
}

pub(crate) async fn until_log_has(stack: &Stack, job: JobId, bytes: usize) {
    wait::until("the log to grow", wait::SOON, async || {
        (stack.api.log(job, "").await.len() >= bytes).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_killed_worker_that_comes_back_takes_its_job_back() {
    const LINES: usize = 200;
    let Some(mut stack) = Plan::default().start().await else { return };
    let command = format!(
        "i=0; while [ $i -lt {LINES} ]; do i=$((i + 1)); echo \"line $i\"; sleep 0.05; done"
    );
    let job = stack.api.command(&command).await;
    until_log_has(&stack, job.id, 1).await;
    let name = stack.workers[0].name.clone();
    let container = engine::running(&name).await;
    assert_eq!(container.len(), 1);

    for away in [Duration::ZERO, Duration::from_millis(300), Duration::from_secs(1)] {
        stack.workers[0].program.kill();
        let stored = stack.api.log(job.id, "").await.len();
        sleep(away).await;
        stack.restart_worker().await;
        until_log_has(&stack, job.id, stored + 100).await;
        assert_eq!(engine::running(&name).await, container, "after {away:?} away");
    }
    let job = stack.api.finished(job.id).await;
    assert_eq!((job.status, job.retry_count), (JobStatus::Completed, 0), "{job:?}");
    assert_eq!(job.attempt.map(|attempt| attempt.0), Some(1));
    assert_eq!(stack.api.log(job.id, "").await, numbered(LINES));
    stack.stop().await;
}

#[tokio::test]
async fn what_a_job_did_while_its_worker_was_away_is_not_lost() {
    let Some(mut stack) = Plan::default().start().await else { return };
    let job =
        stack.api.command("echo begun; until [ -e go ]; do sleep 0.05; done; echo done; exit 3");
    let job = job.await;
    until_log_has(&stack, job.id, 6).await;
    stack.workers[0].program.kill();
    std::fs::write(stack.files().join("go"), "").expect("worker-files can be written to");
    let name = stack.workers[0].name.clone();
    wait::until("the job to end", wait::SOON, async || {
        engine::running(&name).await.is_empty().then_some(())
    })
    .await;
    stack.restart_worker().await;
    let job = stack.api.finished(job.id).await;
    assert_eq!(job.outcome, Some(Outcome::Exited { code: 3 }), "{job:?}");
    assert_eq!(job.attempt.map(|attempt| attempt.0), Some(1));
    assert_eq!(job.output, "begun\ndone\n");
    stack.stop().await;
}

/// How long a container may outlive its lease: the kernel ends its processes, and the engine notices.
/// docs/operations.md states this time.
const LATE: Duration = Duration::from_secs(2);

/// A killed or frozen worker cannot end the container. It ends itself before a new attempt starts.
#[tokio::test]
async fn no_container_outlives_its_lease_and_no_two_attempts_run_at_once() {
    const LEASE: Duration = Duration::from_secs(4);
    for signal in [Signal::KILL, Signal::STOP] {
        let plan = Plan::default().shared_files().setting("ORCHESTRA_LEASE", "4s");
        let Some(mut stack) = plan.start().await else { return };
        let command = "[ -e begun ] && echo again >> said && sleep 1 && exit; touch begun; \
                       trap '' TERM; while true; do echo first >> said; sleep 0.02; done";
        let job = stack.api.command(command).await;
        let said = stack.files().join("said");
        wait::until("the job to speak", wait::SOON, async || said.exists().then_some(())).await;

        let mut first = stack.take_worker();
        stack.add_worker().await;
        first.program.signal(signal);
        let silent = Instant::now();
        wait::until("the container to end itself", wait::SOON, async || {
            engine::running(&first.name).await.is_empty().then_some(())
        })
        .await;
        let lived = silent.elapsed();
        say(&format!("{signal:?}: the container lived for {lived:?} of a lease of {LEASE:?}"));
        assert!(lived < LEASE + LATE, "{lived:?} after {signal:?}");

        let job = stack.api.finished(job.id).await;
        assert_eq!((job.status, job.attempt.unwrap().0), (JobStatus::Completed, 2), "{job:?}");
        let said = std::fs::read_to_string(said).expect("the file that the jobs wrote");
        assert!(
            said.starts_with("first\n") && said.ends_with("first\nagain\n"),
            "two attempts ran at once"
        );
        first.program.kill();
        engine::remove_containers(vec![first.name.clone()]);
        stack.stop().await;
    }
}

/// The container ends by its own fence, and the worker's stale report is refused.
#[tokio::test]
async fn a_frozen_worker_loses_its_job_and_cannot_disturb_the_next_attempt() {
    let plan = Plan::default().shared_files().setting("ORCHESTRA_LEASE", "5s");
    let Some(mut stack) = plan.start().await else { return };
    let command = "[ -e begun ] && echo again && exit; touch begun; \
                   i=0; while true; do i=$((i + 1)); echo \"line $i\"; sleep 0.05; done";
    let job = stack.api.submit(&json!({"command": command, "maxRetries": 1})).await;
    until_log_has(&stack, job.id, 100).await;

    let mut first = stack.take_worker();
    first.program.signal(Signal::STOP);
    wait::until("the container to end itself", wait::SOON, async || {
        engine::running(&first.name).await.is_empty().then_some(())
    })
    .await;
    stack.add_worker().await;
    let job = stack.api.finished(job.id).await;
    assert_eq!((job.status, job.retry_count), (JobStatus::Completed, 0), "{job:?}");
    let before = stack.api.log(job.id, "?attempt=1").await;

    first.program.signal(Signal::CONT);
    engine::all_gone(&first.name).await;
    wait::until("the worker to notice", wait::SOON, async || {
        first.program.printed().contains("the lease is lost").then_some(())
    })
    .await;
    let attempts = stack.api.attempts(job.id).await;
    let outcomes: Vec<_> = attempts.into_iter().map(|attempt| attempt.outcome).collect();
    assert_eq!(outcomes, [Some(Outcome::Lost), Some(Outcome::Exited { code: 0 })]);
    assert_eq!(stack.api.log(job.id, "?attempt=2").await, "again\n");
    let log = stack.api.log(job.id, "?attempt=1").await;
    assert_eq!(log, before, "nothing was added late");
    let log = String::from_utf8(log.to_vec()).expect("it is text");
    assert_eq!(log, numbered(log.lines().count()), "a prefix of what it wrote");
    first.program.terminate().await;
    stack.stop().await;
}

/// Every worker that gets the job is killed, as by a job that takes its host down.
#[tokio::test]
async fn a_job_whose_workers_all_die_is_poison_in_the_end() {
    let plan = Plan::default().setting("ORCHESTRA_LEASE", "2s");
    let plan = plan.setting("ORCHESTRA_POISON_AFTER", "2");
    let plan = plan.setting("ORCHESTRA_RETRY_BACKOFF", "10ms");
    let Some(mut stack) = plan.start().await else { return };
    let job = stack.api.submit(&json!({"command": "sleep 600", "maxRetries": 5})).await;
    let mut dead = Vec::new();
    for attempt in 1..=2 {
        wait::until("the attempt to run", wait::SOON, async || {
            let now = stack.api.job(job.id).await;
            let runs = now.status == JobStatus::Running && now.attempt == Some(AttemptNo(attempt));
            runs.then_some(())
        })
        .await;
        let mut worker = stack.take_worker();
        worker.program.kill();
        stack.add_worker().await;
        dead.push(worker.name);
    }
    let job = stack.api.finished(job.id).await;
    assert_eq!(job.outcome, Some(Outcome::Poison { lost: 2 }), "{job:?}");
    assert_eq!((job.status, job.retry_count), (JobStatus::Failed, 0));
    let next = stack.api.command("echo the others go on").await;
    assert_eq!(stack.api.finished(next.id).await.output, "the others go on\n");
    engine::remove_containers(dead);
    stack.stop().await;
}
