//! A worker that is killed at each single step of an attempt. The steps are recognised from outside,
//! by its messages to the engine and to the master.

use std::fs;

use orchestra_contracts::{Blame, JobStatus};
use orchestra_tests::{
    Plan, Stack, Way,
    breakpoint::{Breakpoint, Step},
    engine, program, skip, wait,
};
use serde_json::json;

use crate::crashes::numbered;

/// Which of the two it talks to.
#[derive(Clone, Copy, Debug)]
enum To {
    Master,
    Engine,
}

/// What happens to the attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// The next process of the worker takes it over.
    Back,
    /// Nothing of it had run, so another attempt is made.
    Anew,
}

const fn step(request: &'static str) -> Step {
    Step { request, says: None, hears: None, passes: false }
}

/// Jobs are numbered in this order and their containers' names hold the number. That distinguishes
/// them from the container through which a worker fills its volume.
const STEPS: &[(&str, To, Step, Fate)] = &[
    (
        "the claim is granted, and the worker does not hear of it",
        To::Master,
        Step { hears: Some("\"lease\""), ..step("/api/job/claim") },
        Fate::Anew,
    ),
    (
        "claimed, and nothing is created",
        To::Engine,
        Step { says: Some("name=orchestra-2-"), ..step("/containers/create") },
        Fate::Anew,
    ),
    (
        "created, and not started",
        To::Engine,
        Step { says: Some("name=orchestra-3-"), hears: Some(""), ..step("/containers/create") },
        Fate::Anew,
    ),
    (
        "started, and without its script",
        To::Engine,
        Step { hears: Some(""), ..step("/start") },
        Fate::Anew,
    ),
    (
        "the script is handed over",
        To::Engine,
        Step { says: Some("echo ran"), passes: true, ..step("/attach") },
        Fate::Back,
    ),
    (
        "it runs, and the master does not know",
        To::Master,
        Step { says: Some("\"Running\""), ..step("/api/job/update") },
        Fate::Back,
    ),
    (
        "in the middle of its output",
        To::Engine,
        Step { hears: Some("line 2\n"), ..step("/attach") },
        Fate::Back,
    ),
    (
        "output is stored, and the worker does not hear of it",
        To::Master,
        Step { says: Some("line 1\n"), hears: Some(""), ..step("/log") },
        Fate::Back,
    ),
    (
        "it has ended, and the master does not know",
        To::Master,
        Step { says: Some("\"Completed\""), ..step("/api/job/update") },
        Fate::Back,
    ),
    (
        "its end is stored, and the worker does not hear of it",
        To::Master,
        Step { says: Some("\"Completed\""), hears: Some(""), ..step("/api/job/update") },
        Fate::Back,
    ),
    (
        "reported, and not removed",
        To::Engine,
        Step { says: Some("/containers/orchestra-11-"), ..step("DELETE") },
        Fate::Back,
    ),
];

#[tokio::test]
async fn a_worker_killed_at_any_named_step_runs_its_job_once() {
    let Some(socket) = engine::socket() else {
        return skip("named steps", "the engine is not reached by a socket");
    };
    if !engine::is_there().await {
        return;
    }
    // With a warm sandbox, a job would skip the first steps.
    let plan = Plan::default().workers(0).slots(1).setting("ORCHESTRA_LEASE", "4s");
    let plan = plan.setting("ORCHESTRA_WARM", "0");
    let plan = plan.setting("ORCHESTRA_RETRY_BACKOFF", "50ms");
    let Some(mut stack) = plan.start().await else { return };
    program::job_image().await;
    let (to_master, address) = Breakpoint::before_port(stack.address()).await;
    let at = stack.folder().join("engine.sock");
    let to_engine = Breakpoint::before_socket(socket, &at);
    let way = Way {
        url: Some(format!("http://{address}")),
        settings: vec![("DOCKER_HOST", format!("unix://{}", at.display()))],
        ..Way::default()
    };
    stack.add_worker_by(way).await;
    for (number, (name, to, step, fate)) in STEPS.iter().enumerate() {
        let breakpoint = match to {
            To::Master => &to_master,
            To::Engine => &to_engine,
        };
        breakpoint.arm(*step, stack.workers[0].program.id());
        killed_there(&mut stack, number, name, *fate).await;
    }
    stack.stop().await;
}

/// Submits a job, then waits for the kill and for what follows.
async fn killed_there(stack: &mut Stack, number: usize, step: &str, fate: Fate) {
    let ran = format!("ran-{number}");
    let command =
        format!("echo ran >> {ran}; for i in 1 2 3; do echo \"line $i\"; sleep 0.2; done");
    // A takeover gets enough time on a slow machine. Otherwise the test waits until the lease runs out.
    let lease = if fate == Fate::Back { "1m" } else { "4s" };
    let job = stack.api.submit(&json!({"command": command, "lease": lease})).await;
    let what = format!("the kill: {step}");
    wait::until(&what, wait::SOON, async || stack.workers[0].program.ended()).await;
    stack.restart_worker().await;

    let job = stack.api.finished(job.id).await;
    assert_eq!((job.status, job.retry_count), (JobStatus::Completed, 0), "{step}: {job:?}");
    let attempts = stack.api.attempts(job.id).await;
    let (last, before) = attempts.split_last().expect("it was run");
    assert_eq!(before.is_empty(), fate == Fate::Back, "{step}: {attempts:?}");
    let blame =
        before.iter().map(|it| it.outcome.as_ref().map(orchestra_contracts::Outcome::blame));
    assert!(blame.eq(before.iter().map(|_| Some(Blame::Infrastructure))), "{step}: {attempts:?}");
    let log = stack.api.log(job.id, &format!("?attempt={}", last.number)).await;
    assert_eq!(log, numbered(3), "{step}");
    let ran = fs::read_to_string(stack.files().join(ran)).expect("the file that the job wrote");
    assert_eq!(ran, "ran\n", "{step}: the command ran once");
    engine::all_gone(&stack.workers[0].name).await;
}
