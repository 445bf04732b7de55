//! The sandbox as a job sees it from inside.

use orchestra_contracts::{JobStatus, ProblemKind, paths};
use orchestra_tests::{Plan, Stack, engine, program, unique_name, wait};
use serde_json::{Value, json};

/// What else a job can rely on.
const USABLE: &[(&str, &str)] = &[
    ("cp /bin/echo /tmp/echo && /tmp/echo from tmp", "from tmp"),
    ("ls -A /tmp /dev/shm | grep -v :; echo nothing of those before", "\nnothing of those before"),
    ("env | grep -E '^(DOCKER|ORCHESTRA_(URL|TOKEN|DATA))'", ""),
    ("echo $ORCHESTRA_ATTEMPT; pwd; cd && pwd", "1\n/work\n/tmp"),
    ("readlink /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 | sort -u | wc -l", "3"),
    (
        "truncate -s 5g large 2> /dev/null || echo too large; ls large 2> /dev/null",
        "too large\nlarge",
    ),
];

async fn prints(stack: &Stack, command: &str, more: Value) -> String {
    let mut spec = more;
    spec["command"] = json!(command);
    stack.api.run(&spec).await.output.trim_end().to_owned()
}

async fn findings(stack: &Stack, worker: &str, engine: Option<&str>, code: i32) -> Vec<Value> {
    let mut command = stack.command(&["doctor", "--sandbox", "-o", "json"]);
    command.env("ORCHESTRA_WORKER_NAME", worker);
    if let Some(engine) = engine {
        command.env("DOCKER_HOST", engine);
    }
    let answer = program::run(command, wait::JOB).await.expect(code).stdout;
    serde_json::from_str(&answer).expect("a list of findings")
}

/// The promises are those of docs/security.md; `worker/src/probe/promises.rs` lists them all.
#[tokio::test]
async fn a_job_finds_itself_shut_in() {
    let Some(stack) = Plan::default().start().await else { return };
    let worker = unique_name("doctor");
    let kept = findings(&stack, &worker, None, 0).await;
    let broken: Vec<_> = kept.iter().filter(|finding| finding["ok"] != true).collect();
    assert!(broken.is_empty() && kept.len() > 20, "{broken:#?}");
    assert!(engine::containers_left(&worker).await.is_empty(), "it leaves a container");

    let none = findings(&stack, &worker, Some("unix:///nonexistent/docker.sock"), 125).await;
    assert_eq!(none.len(), 1, "{none:?}");
    assert_eq!(none[0]["ok"], false, "{none:?}");

    for (question, answer) in USABLE {
        assert_eq!(prints(&stack, question, json!({})).await, *answer, "{question}");
    }
    stack.stop().await;
}

#[tokio::test]
async fn limits_hold_and_can_be_chosen() {
    let Some(stack) = Plan::default().start().await else { return };
    let fork = "for i in {1..40}; do sleep 5 & done; jobs -r | wc -l";
    let few = stack.api.run(&json!({"command": fork, "resources": {"pids": 20}})).await;
    assert_eq!(few.status, JobStatus::Failed, "bash stops when it cannot fork: {few:?}");
    assert!(few.error.contains("Resource temporarily unavailable"), "{few:?}");
    assert_eq!(prints(&stack, fork, json!({"resources": {"pids": 100}})).await, "40");

    let size = "df --output=size -k /tmp | tail -1 | tr -d ' '";
    assert_eq!(prints(&stack, size, json!({"resources": {"tmp": "8m"}})).await, "8192");

    let busy = "timeout 2 bash -c 'while :; do :; done'; times | tail -1";
    let job = stack.api.run(&json!({"command": busy, "resources": {"cpus": 0.25}})).await;
    let usage = job.usage.expect("an attempt that ran has used something");
    assert!(usage.cpu_ms < 1_500, "a quarter of a core for two seconds: {usage:?}");
    assert!(usage.wall_ms >= 2_000 && usage.peak_memory > 0, "{usage:?}");

    for (greedy, pointer) in [
        (json!({"command": "true", "resources": {"memory": "999g"}}), "/resources/memory"),
        (json!({"command": "true", "network": "bridge"}), "/network"),
    ] {
        let problem = stack.api.post(paths::JOBS, &greedy).await.problem(422, ProblemKind::Invalid);
        assert_eq!(problem.errors[0].pointer, pointer, "{problem:?}");
    }
    stack.stop().await;
}
