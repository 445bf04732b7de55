//! How jobs end: every outcome is told apart, is retried as specified, and leaves no container.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    time::Duration,
};

use orchestra_contracts::{Job, JobStatus, Outcome, paths};
use orchestra_tests::{Plan, Stack, Toxic, engine, is_root, skip, wait};
use serde_json::{Value, json};

/// A stack with one second between SIGTERM and SIGKILL.
async fn stack() -> Option<Stack> {
    Plan::default().setting("ORCHESTRA_GRACE", "1s").start().await
}

/// Runs a job that must fail for good with this outcome, and waits for its container to go.
async fn fails(stack: &Stack, spec: Value, outcome: Outcome) -> Job {
    let job = stack.api.run(&spec).await;
    assert_eq!(job.status, JobStatus::Failed, "{job:?}");
    assert_eq!(job.reason, Some(outcome.to_string()), "{job:?}");
    assert_eq!(job.exit_code, outcome.exit_code(), "{job:?}");
    assert_eq!(job.outcome, Some(outcome), "{job:?}");
    engine::all_gone(&stack.workers[0].name).await;
    job
}

async fn cancel(stack: &Stack, job: &Job) {
    let reply = stack.api.post(&paths::cancel(job.id), &Value::Null).await;
    assert!(matches!(reply.status, 200 | 202), "{reply:?}");
}

#[tokio::test]
async fn a_job_that_takes_too_long_is_ended() {
    let Some(stack) = stack().await else { return };
    let spec = json!({"command": "echo started; sleep 600", "timeout": "1s"});
    let job = fails(&stack, spec, Outcome::TimedOut).await;
    assert_eq!(job.output, "started\n");
    assert_ne!(stack.api.log(job.id, "?stream=system").await, "", "the log names the signals");

    let stubborn = json!({
        "command": "trap 'echo not yet' TERM; while :; do sleep 0.1; done",
        "timeout": "1s"
    });
    let job = fails(&stack, stubborn, Outcome::TimedOut).await;
    assert_eq!(job.output, "not yet\n", "SIGTERM comes before SIGKILL");
    stack.stop().await;
}

#[tokio::test]
async fn a_running_job_and_a_waiting_one_can_be_cancelled() {
    let plan = Plan::default().slots(1).setting("ORCHESTRA_GRACE", "1s");
    let Some(stack) = plan.start().await else { return };
    let running =
        stack.api.submit(&json!({"command": "echo on; sleep 600", "maxRetries": 3})).await;
    let waiting = stack.api.command("touch never").await;
    stack.api.reaches(running.id, JobStatus::Running).await;

    cancel(&stack, &waiting).await;
    let waiting = stack.api.job(waiting.id).await;
    assert_eq!((waiting.status, waiting.attempt), (JobStatus::Cancelled, None));
    cancel(&stack, &running).await;
    let running = stack.api.finished(running.id).await;
    assert_eq!(running.status, JobStatus::Cancelled, "{running:?}");
    assert_eq!((running.retry_count, running.outcome), (0, Some(Outcome::Cancelled)));
    engine::all_gone(&stack.workers[0].name).await;
    assert!(!stack.files().join("never").exists());
    stack.stop().await;
}

/// The command has ended and its log is still being uploaded. Nothing is left to interrupt, so the
/// job keeps its outcome.
#[tokio::test]
async fn a_cancel_after_the_commands_end_changes_nothing() {
    let Some(stack) = Plan::default().proxied().start().await else { return };
    let link = stack.workers[0].link.as_ref().expect("the plan is proxied");
    let command = "until [ -e go ]; do sleep 0.02; done; seq 1 100000; exit 3";
    let job = stack.api.submit(&json!({"command": command, "maxRetries": 2})).await;
    stack.api.reaches(job.id, JobStatus::Running).await;
    link.set(Toxic::Latency(Duration::from_millis(400)));
    fs::write(stack.files().join("go"), "").expect("worker-files can be written to");
    wait::until("the command to end", wait::SOON, async || {
        engine::running(&stack.workers[0].name).await.is_empty().then_some(())
    })
    .await;
    assert_eq!(stack.api.job(job.id).await.status, JobStatus::Running, "its log is on the way");
    cancel(&stack, &job).await;
    link.heal();
    let job = stack.api.finished(job.id).await;
    assert_eq!(job.outcome, Some(Outcome::Exited { code: 3 }), "{job:?}");
    assert_eq!(stack.api.attempts(job.id).await.len(), 1, "no retry follows a cancel");
    let lines: Vec<_> = (1..=100_000).map(|number| format!("{number}\n")).collect();
    assert!(stack.api.log(job.id, "").await == lines.concat());
    stack.stop().await;
}

#[tokio::test]
async fn deleting_a_running_job_ends_it_first() {
    let Some(stack) = stack().await else { return };
    let job = stack.api.command("sleep 600").await;
    stack.api.reaches(job.id, JobStatus::Running).await;
    let delete = stack.api.request(reqwest::Method::DELETE, &paths::job(job.id));
    let _ = stack.api.send(delete).await.expect(202);
    orchestra_tests::wait::until("the job to be gone", orchestra_tests::wait::SOON, async || {
        (stack.api.get(&paths::job(job.id)).await.status == 404).then_some(())
    })
    .await;
    engine::all_gone(&stack.workers[0].name).await;
    stack.stop().await;
}

#[tokio::test]
async fn want_of_memory_is_told_from_other_failures() {
    let Some(stack) = stack().await else { return };
    let greedy = json!({
        "command": "head -c 300m /dev/zero | tail > /dev/null; exit ${PIPESTATUS[1]}",
        "resources": {"memory": "64m"}
    });
    fails(&stack, greedy, Outcome::OutOfMemory).await;
    stack.stop().await;
}

#[tokio::test]
async fn a_signal_is_told_from_an_exit() {
    let Some(stack) = stack().await else { return };
    let signalled = |signal| (format!("kill -{signal} $$"), Outcome::Signalled { signal });
    for (command, outcome) in [signalled(9), signalled(15), signalled(6)] {
        fails(&stack, json!({ "command": command }), outcome).await;
    }
    fails(&stack, json!({"command": "exit 137"}), Outcome::Exited { code: 137 }).await;
    fails(&stack, json!({"command": "no-such-command"}), Outcome::Exited { code: 127 }).await;
    fails(&stack, json!({"command": "./Hello.cpp"}), Outcome::Exited { code: 126 }).await;
    fails(&stack, json!({"command": "if then"}), Outcome::Exited { code: 2 }).await;
    stack.stop().await;
}

#[tokio::test]
async fn what_a_job_leaves_running_ends_with_it() {
    let Some(stack) = stack().await else { return };
    for background in
        ["sleep 600 &", "(setsid sleep 600 > /dev/null 2>&1 &)", "exec 2>&1; nohup sleep 600 &"]
    {
        let job = stack
            .api
            .run(&json!({"command": format!("{background}\necho done"), "timeout": "60s"}))
            .await;
        assert_eq!(job.status, JobStatus::Completed, "{job:?}");
        assert!(job.output.ends_with("done\n"), "{job:?}");
    }
    engine::all_gone(&stack.workers[0].name).await;
    stack.stop().await;
}

#[tokio::test]
async fn a_failed_command_is_tried_again() {
    let Some(stack) = stack().await else { return };
    let spec = json!({"command": "echo try >> tries; exit 7", "maxRetries": 2});
    let job = fails(&stack, spec, Outcome::Exited { code: 7 }).await;
    assert_eq!((job.retry_count, job.attempt.unwrap().0), (2, 3));
    assert_eq!(fs::read_to_string(stack.files().join("tries")).unwrap(), "try\ntry\ntry\n");
    let attempts = stack.api.attempts(job.id).await;
    assert_eq!(attempts.iter().map(|attempt| attempt.number.0).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(attempts.iter().all(|attempt| attempt.exit_code == Some(7)), "{attempts:?}");

    let command = "echo try $(wc -l < two); echo x >> two; [ $(wc -l < two) = 2 ]";
    fs::write(stack.files().join("two"), "").unwrap();
    fs::set_permissions(stack.files().join("two"), fs::Permissions::from_mode(0o666)).unwrap();
    let job = stack.api.run(&json!({"command": command, "maxRetries": 5})).await;
    assert_eq!(job.status, JobStatus::Completed, "{job:?}");
    assert_eq!((job.retry_count, job.output.as_str()), (1, "try 1\n"));
    assert_eq!(stack.api.log(job.id, "?attempt=1&stream=stdout").await, "try 0\n");
    assert_eq!(stack.api.log(job.id, "?attempt=2&stream=stdout").await, "try 1\n");
    stack.stop().await;
}

#[tokio::test]
async fn files_that_jobs_make_belong_to_the_owner_of_the_folder() {
    let Some(stack) = stack().await else { return };
    let owner = fs::metadata(stack.files()).unwrap();
    let job = stack.api.run(&json!({"command": "id -u; touch made; mkdir folder"})).await;
    assert_eq!((job.status, job.output), (JobStatus::Completed, format!("{}\n", owner.uid())));
    for name in ["made", "folder"] {
        let made = fs::metadata(stack.files().join(name)).unwrap();
        assert_eq!((made.uid(), made.gid()), (owner.uid(), owner.gid()), "{name}");
    }
    stack.stop().await;
}

#[tokio::test]
async fn jobs_in_a_clone_made_by_root_run_as_somebody_else() {
    if !is_root() {
        return skip("clone made by root", "only root can make one");
    }
    let Some(stack) = Plan::default().owner(0).start().await else { return };
    let job =
        stack.api.run(&json!({"command": "touch made && id -u && cat Hello.cpp > copy"})).await;
    assert_eq!(job.status, JobStatus::Completed, "{job:?}");
    assert_ne!(job.output, "0\n");
    assert!(stack.files().join("made").exists() && stack.files().join("copy").exists());
    stack.stop().await;
}
