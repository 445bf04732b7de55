//! An engine that restarts under running jobs, with a real master and worker.

use std::fs;

use orchestra_contracts::{JobStatus, Outcome};
use orchestra_tests::{
    Plan, Way,
    daemon::{Daemon, Down},
    engine, program,
};
use serde_json::json;

use crate::crashes::until_log_has;

#[tokio::test]
async fn a_job_that_goes_down_with_its_engine_runs_again_and_keeps_its_retries() {
    if !engine::is_there().await {
        return;
    }
    program::job_image().await;
    let image = engine::images("gcc").await.swap_remove(0);
    let Some(daemon) = Daemon::start(false, &image) else { return };
    let plan = Plan::default().workers(0).setting("ORCHESTRA_RETRY_BACKOFF", "50ms");
    let Some(mut stack) = plan.start().await else { return };
    let images = stack.folder().join("images");
    fs::create_dir_all(images.join("plain")).expect("a new folder");
    fs::write(images.join("plain/Dockerfile"), "ARG BASE\nFROM ${BASE}\nENV PLAIN=yes\n")
        .expect("the folder is ours");
    let settings = vec![
        ("DOCKER_HOST", daemon.address()),
        ("ORCHESTRA_IMAGES", images.display().to_string()),
        ("ORCHESTRA_DEFAULT_IMAGE", "plain".to_owned()),
    ];
    stack.add_worker_by(Way { settings, ..Way::default() }).await;

    let command = "[ -e begun ] && seq 1 2000 && exit; touch begun; echo first; sleep 600";
    let job = stack.api.submit(&json!({"command": command, "maxRetries": 2})).await;
    until_log_has(&stack, job.id, 1).await;
    let daemon = daemon.restarted(Down::Terminated).await;
    let job = stack.api.finished(job.id).await;
    assert_eq!((job.status, job.retry_count), (JobStatus::Completed, 0), "{job:?}");
    let attempts = stack.api.attempts(job.id).await;
    let outcomes: Vec<_> = attempts.iter().map(|it| it.outcome.as_ref()).collect();
    let [Some(Outcome::CouldNotStart { reason }), Some(Outcome::Exited { code: 0 })] = outcomes[..]
    else {
        panic!("{attempts:?}");
    };
    assert!(reason.contains("the engine was restarted"), "{reason}");
    assert_eq!(stack.api.log(job.id, "?attempt=1&stream=stdout").await, "first\n");
    let lines: Vec<_> = (1..=2000).map(|number| format!("{number}\n")).collect();
    assert_eq!(stack.api.log(job.id, "?attempt=2").await, lines.concat());
    stack.stop().await;
    assert_eq!(daemon.containers(), [""; 0], "its worker removed all of them");
}
