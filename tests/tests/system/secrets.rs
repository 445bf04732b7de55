//! A secret travels from the caller's environment to the job and nowhere else.

use std::{fs, path::Path};

use orchestra_contracts::{JobId, JobStatus, Secret};
use orchestra_tests::{Plan, program, wait};

const VALUE: &str = "correct/horse+battery";

/// The files in a folder that contain the value.
fn showing(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of ours").flatten() {
        if entry.path().is_dir() {
            found.extend(showing(&entry.path()));
        } else if let Ok(bytes) = fs::read(entry.path())
            && bytes.windows(VALUE.len()).any(|bytes| bytes == VALUE.as_bytes())
        {
            found.push(entry.path().display().to_string());
        }
    }
    found
}

#[tokio::test]
async fn a_secret_reaches_its_job_and_no_file_of_ours() {
    let plan = Plan::default().setting("ORCHESTRA_LOG", "debug");
    let Some(mut stack) = plan.start().await else { return };
    let script =
        "[ \"$TOKEN\" = \"correct/horse+\"battery ] && echo \"is $TOKEN\"; env >&2; exit 3";
    let mut command = stack.command(&["run", "--secret", "TOKEN", script]);
    command.env("TOKEN", VALUE);
    let ran = program::run(command, wait::JOB).await.expect(3);
    assert_eq!(ran.stdout, "is ***\n");
    assert!(ran.stderr.contains("TOKEN=***\n") && !ran.stderr.contains(VALUE), "{}", ran.stderr);
    assert!(showing(stack.folder()).is_empty(), "{:?}", showing(stack.folder()));

    // The sealed secret survives a restart of the master, and a retry gets it again.
    stack.kill_master();
    stack.restart_master().await;
    stack.workers_are_online().await;
    let retried = program::run(stack.command(&["retry", "1"]), wait::COMMAND).await.expect(0);
    assert!(!retried.stdout.contains(VALUE), "{}", retried.stdout);
    let again = stack.api.finished(JobId(1)).await;
    assert_eq!((again.status, again.output.as_str()), (JobStatus::Failed, "is ***\n"));
    assert_eq!(again.spec.secrets["TOKEN"], Secret::hidden());
    assert_eq!(again.attempt.map(|attempt| attempt.0), Some(2));

    // Without the key the secrets cannot be opened, and the job says so.
    stack.kill_master();
    fs::remove_file(stack.data().join("secret.key")).unwrap();
    stack.restart_master().await;
    stack.workers_are_online().await;
    let _ = program::run(stack.command(&["retry", "1"]), wait::COMMAND).await.expect(0);
    let refused = stack.api.finished(JobId(1)).await;
    let reason = refused.reason.unwrap_or_default();
    assert!(reason.contains("secrets cannot be opened"), "{reason}");
    assert!(showing(stack.folder()).is_empty(), "{:?}", showing(stack.folder()));
    stack.stop().await;
}
