//! Workers of one master that allow their jobs different images and limits.

use std::fs;

use orchestra_contracts::{JobStatus, Outcome, ProblemKind, paths};
use orchestra_tests::{Plan, Stack, Way, repository, wait};
use serde_json::{Value, json};

use crate::images::Image;

async fn runs_on(stack: &Stack, spec: &Value) -> String {
    let job = stack.api.run(spec).await;
    assert_eq!(job.status, JobStatus::Completed, "{job:?}");
    let attempts = stack.api.attempts(job.id).await;
    assert_eq!(attempts.len(), 1, "no other worker was tried: {attempts:?}");
    attempts[0].worker.to_string()
}

#[tokio::test]
async fn a_job_goes_to_a_worker_that_allows_it_and_is_refused_when_none_does() {
    // The first worker allows only small jobs, and has none of the second worker's images.
    let plan = Plan::default().slots(2).setting("ORCHESTRA_MAX_MEMORY", "600m");
    let Some(mut stack) = plan.start().await else { return };
    let images = tempfile::tempdir().unwrap();
    let gcc = images.path().join("gcc");
    fs::create_dir(&gcc).unwrap();
    fs::copy(repository().join("images/gcc/Dockerfile"), gcc.join("Dockerfile")).unwrap();
    let folder = images.path().display().to_string();
    let settings = vec![("ORCHESTRA_MAX_MEMORY", "1g".to_owned()), ("ORCHESTRA_IMAGES", folder)];
    stack.add_worker_by(Way { settings, ..Way::default() }).await;
    let (small, large) = (stack.workers[0].name.clone(), stack.workers[1].name.clone());

    let needs = |memory: &str| json!({"command": "true", "resources": {"memory": memory}});
    for _ in 0..4 {
        assert_eq!(runs_on(&stack, &needs("1g")).await, large);
    }
    assert!([&small, &large].contains(&&runs_on(&stack, &needs("64m")).await));

    let problem =
        stack.api.post(paths::JOBS, &needs("2g")).await.problem(422, ProblemKind::Invalid);
    assert_eq!(problem.errors[0].pointer, "/resources/memory", "{problem:?}");
    assert_eq!(problem.errors[0].detail, "asks for 2g, and no worker allows more than 1g");
    assert!(problem.hint.is_some_and(|hint| hint.contains("1g memory")));
    let told = stack.cli(&["submit", "--memory", "2g", "true"]).await;
    assert!(told.stderr.contains("no worker allows more than 1g"), "{told:?}");

    let image = Image::new(images.path());
    image.write("here");
    wait::until("the folder to be noticed", wait::SOON, async || {
        let workers = stack.api.workers().await;
        let offers = workers.into_iter().filter_map(|worker| worker.registration.offer);
        offers.map(|offer| offer.images).any(|all| all.contains(&image.name)).then_some(())
    })
    .await;
    for _ in 0..2 {
        let spec = json!({"command": "cat /mark", "image": image.name});
        assert_eq!(runs_on(&stack, &spec).await, large);
    }
    let typo = stack.api.run(&json!({"command": "true", "image": "no-such-image"})).await;
    assert!(matches!(typo.outcome, Some(Outcome::Refused { .. })), "it fails at once: {typo:?}");

    let shown = stack.cli(&["workers"]).await.expect(0).stdout;
    assert!(shown.contains("600m") && shown.contains(&image.name), "{shown}");
    stack.stop().await;
}
