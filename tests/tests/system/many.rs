//! Many short jobs: no byte is lost, duplicated or in another job's log, and no container is left.

use std::collections::BTreeMap;

use orchestra_contracts::{Job, JobId, JobStatus, paths};
use orchestra_tests::{Plan, Stack, rounds, say};
use serde_json::json;

/// Standard output and standard error of job `number`.
fn printed(number: usize) -> (String, String) {
    let out = [1, 2, 3].map(|line| format!("{number}.{line} out\n"));
    (out.concat(), format!("{number} err"))
}

fn command(number: usize) -> String {
    format!("i={number}; for n in 1 2 3; do echo \"$i.$n out\"; done; printf '%s err' $i >&2")
}

/// Submits `count` jobs, waits for them, and compares every log.
async fn runs_exactly(stack: &Stack, count: usize) {
    let mut numbers: BTreeMap<JobId, usize> = BTreeMap::new();
    for number in 0..count {
        let job = stack.api.submit(&json!({"command": command(number), "maxRetries": 2})).await;
        assert_eq!(numbers.insert(job.id, number), None, "an id was given twice");
    }
    for (&id, &number) in &numbers {
        let job = stack.api.finished(id).await;
        let (out, err) = printed(number);
        assert_eq!(job.status, JobStatus::Completed, "{job:?}");
        assert_eq!((job.output.as_str(), job.error.as_str()), (out.as_str(), err.as_str()));
        assert_eq!((job.retry_count, job.attempt.map(|n| n.0)), (0, Some(1)), "{job:?}");
        assert_eq!(stack.api.log(id, "?stream=stdout").await, out, "job {id}");
        assert_eq!(stack.api.log(id, "?stream=stderr").await, err, "job {id}");
    }
}

#[tokio::test]
async fn a_hundred_jobs_and_every_byte_of_them() {
    let Some(stack) = Plan::default().workers(2).start().await else { return };
    for round in 1..=rounds() {
        runs_exactly(&stack, 100).await;
        if rounds() > 1 {
            say(&format!("round {round} of {}: 100 jobs exact", rounds()));
        }
    }
    stack.stop().await;
}

#[tokio::test]
async fn two_thousand_jobs_and_every_byte_of_them() {
    let Some(stack) = Plan::default().workers(2).start().await else { return };
    runs_exactly(&stack, 2_000).await;
    let listed = stack.api.jobs("?status=Completed").await;
    assert_eq!(listed.len(), 2_000);
    assert!(stack.api.jobs("?status=Failed").await.is_empty());
    stack.stop().await;
}

/// Each job is handed to exactly one worker, independent of the engine.
#[tokio::test]
async fn sixteen_claimers_never_get_the_same_job() {
    let stack = Plan::default().workers(0).start().await.expect("a master alone needs no engine");
    for _ in 0..200 {
        stack.api.command("true").await;
    }
    let claimer = async |number: usize| {
        let (mut claimed, name) = (Vec::new(), json!(format!("claimer-{number}")));
        loop {
            let reply = stack.api.post(paths::CLAIM, &name).await;
            if reply.status == 204 {
                return claimed;
            }
            claimed.push(reply.expect(200).json::<Job>().id.0);
        }
    };
    let claimed = futures::future::join_all((0..16).map(claimer)).await;
    let busy = claimed.iter().filter(|jobs| !jobs.is_empty()).count();
    assert!(busy > 1, "they did not claim at the same time");
    let mut all = claimed.concat();
    all.sort_unstable();
    assert_eq!(all, (1..=200).collect::<Vec<_>>());
    stack.stop().await;
}
