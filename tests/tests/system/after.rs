//! Dependent jobs, array jobs, and other scheduling fields of a spec, in real containers.

use orchestra_contracts::{Job, JobId, JobStatus, Outcome};
use orchestra_tests::{Plan, Stack};
use serde_json::json;

async fn all(stack: &Stack, ids: &[JobId]) -> Vec<Job> {
    let mut jobs = Vec::new();
    for id in ids {
        jobs.push(stack.api.finished(*id).await);
    }
    jobs
}

fn printed(ids: &str) -> Vec<JobId> {
    ids.lines().map(|id| id.parse().expect("one id on each line")).collect()
}

/// Several jobs in one file, as people write it.
const PIPELINE: &str = "\
- name: use
  command: ./made
  after: [make]
- name: make
  command: sleep 1; printf '#!/bin/sh\\necho it was made\\n' > made; chmod +x made
- name: mourn
  command: echo it failed
  afterFailed: [make]
- name: tidy
  command: rm made
  afterAny: [use, mourn]
";

#[tokio::test]
async fn a_pipeline_of_one_file_runs_in_its_order() {
    let Some(stack) = Plan::default().slots(4).start().await else { return };
    let file = stack.folder().join("pipeline.yaml");
    std::fs::write(&file, PIPELINE).unwrap();
    let file = file.to_str().unwrap();
    let checked = stack.cli(&["submit", "-f", file, "--dry-run"]).await.expect(0).stdout;
    assert_eq!(checked, "all 4 jobs would be accepted\n");
    let ids = printed(&stack.cli(&["submit", "-f", file]).await.expect(0).stdout);
    assert_eq!(ids, [1, 2, 3, 4].map(JobId), "the dry run stored nothing");
    let jobs = all(&stack, &ids).await;
    let [use_it, make, mourn, tidy] = &jobs[..] else { panic!("four jobs") };
    assert_eq!(
        (use_it.status, use_it.output.as_str()),
        (JobStatus::Completed, "it was made\n"),
        "{use_it:?}"
    );
    assert!(use_it.started_at > make.finished_at, "{make:?} {use_it:?}");
    assert!(matches!(mourn.outcome, Some(Outcome::Skipped { .. })), "{mourn:?}");
    assert_eq!((mourn.status, mourn.attempt), (JobStatus::Cancelled, None));
    assert_eq!(tidy.status, JobStatus::Completed, "{tidy:?}");
    assert!(tidy.started_at > use_it.finished_at, "{use_it:?} {tidy:?}");
    stack.stop().await;
}

#[tokio::test]
async fn an_array_has_its_indexes_and_keeps_to_its_bound() {
    let Some(stack) = Plan::default().slots(6).start().await else { return };
    // Each job leaves a mark while it runs, and counts the marks of the others.
    let command = "mkdir -p marks; touch marks/$ORCHESTRA_ARRAY_INDEX; sleep 1; ls marks | wc -l; \
                   rm marks/$ORCHESTRA_ARRAY_INDEX; \
                   echo $ORCHESTRA_ARRAY_INDEX of $ORCHESTRA_ARRAY_SIZE in $ORCHESTRA_ARRAY_ID";
    let ran = stack.cli(&["submit", "--array", "10-60:10%2", command]).await.expect(0);
    let jobs = all(&stack, &printed(&ran.stdout)).await;
    assert_eq!(jobs.len(), 6);
    for (job, index) in jobs.iter().zip([10, 20, 30, 40, 50, 60]) {
        assert_eq!((job.status, job.array_index), (JobStatus::Completed, Some(index)), "{job:?}");
        let (beside, told) = job.output.split_once('\n').expect("two lines");
        assert!(matches!(beside.trim(), "1" | "2"), "more than two at once: {job:?}");
        assert_eq!(told, format!("{index} of 6 in 1\n"));
    }
    stack.stop().await;
}

#[tokio::test]
async fn what_waits_outlives_the_master() {
    let Some(mut stack) = Plan::default().start().await else { return };
    let first = stack.api.command("sleep 3; echo first").await;
    let spec = json!({"command": "echo second", "after": [first.id]});
    let second = stack.api.submit(&spec).await;
    let told = stack.cli(&["explain", &second.id.to_string()]).await.expect(0).stdout;
    assert!(told.contains("it waits for job 1 ("), "{told}");
    stack.kill_master();
    stack.restart_master().await;
    let jobs = all(&stack, &[first.id, second.id]).await;
    assert!(jobs.iter().all(|job| job.status == JobStatus::Completed), "{jobs:?}");
    assert!(jobs[1].started_at > jobs[0].finished_at, "{jobs:?}");
    stack.stop().await;
}

#[tokio::test]
async fn only_the_failures_that_were_named_are_tried_again() {
    let Some(stack) = Plan::default().start().await else { return };
    let retry = json!({"on": ["timedOut"], "backoff": "1s"});
    let spec = json!({"command": "exit 3", "maxRetries": 2, "retry": retry});
    let failed = stack.api.run(&spec).await;
    assert_eq!((failed.status, failed.retry_count), (JobStatus::Failed, 0), "{failed:?}");
    let command = "[ -e once ] && exit 0; touch once; sleep 100";
    let spec = json!({"command": command, "maxRetries": 2, "timeout": "4s", "retry": retry});
    let slow = stack.api.run(&spec).await;
    assert_eq!((slow.status, slow.retry_count), (JobStatus::Completed, 1), "{slow:?}");
    stack.stop().await;
}

#[tokio::test]
async fn a_log_of_a_chosen_size_keeps_its_head_and_its_tail() {
    let Some(stack) = Plan::default().start().await else { return };
    let job = stack.api.run(&json!({"command": "seq 1 20000", "maxLog": "8k"})).await;
    assert_eq!(job.status, JobStatus::Completed, "{job:?}");
    let log = stack.api.log(job.id, "").await;
    let log = String::from_utf8_lossy(&log);
    assert!(log.starts_with("1\n2\n3\n") && log.ends_with("\n19999\n20000\n"), "{log}");
    assert!(log.contains("bytes were left out here]"), "{log}");
    assert!((8_000..8_500).contains(&log.len()), "{} bytes", log.len());
    stack.stop().await;
}
