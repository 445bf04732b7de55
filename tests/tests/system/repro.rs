//! Runs a job again by hand: the line that `orchestra repro` prints, through bash and on the same
//! engine.

use orchestra_tests::{Plan, Stack, wait};
use serde_json::{Value, json};
use tokio::process::Command;

/// Standard output, standard error and exit code of the printed line.
async fn by_hand(stack: &Stack, id: i64, secret: &str) -> (String, String, Option<i32>) {
    let printed = stack.cli(&["repro", &id.to_string()]).await;
    let line = printed.expect(0).stdout;
    assert!(!line.contains(secret), "{line}");
    let mut bash = Command::new("bash");
    bash.args(["-c", &line]).env("TOKEN", secret).kill_on_drop(true);
    let output = tokio::time::timeout(wait::JOB, bash.output()).await.expect("it ends");
    let output = output.expect("bash is there");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

#[tokio::test]
async fn the_printed_line_gives_the_same_result() {
    let Some(stack) = Plan::default().start().await else { return };
    let secret = "a secret's value";
    let look = "id -u; id -g; pwd; hostname; ulimit -n -c -f; echo \"$A\" '$A'; \
                cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2> /dev/null; \
                df --output=size /tmp | tail -1; ls -A /sys/class/net; \
                env | grep -v ^SHLVL= | sort; touch /x";
    for spec in [
        json!({"command": look, "env": {"A": "it's \"$HOME\""}, "resources": {"tmp": "64m"}}),
        json!({"command": "cat; echo on stderr >&2; exit 3", "stdin": "a 'b'\n\\n%s\n"}),
        json!({"command": "kill -9 $$"}),
        json!({"command": "echo ${#TOKEN}", "secrets": {"TOKEN": secret}}),
        json!({"command": "pwd; ls -A; touch new && ls", "workspace": "private"}),
        json!({"command": "printf 'int main() { return 42; }' | g++ -x c++ - -o /tmp/a && /tmp/a"}),
    ] {
        let job = stack.api.run(&spec).await;
        let result = (job.output.clone(), job.error.clone(), job.exit_code);
        let repeated = by_hand(&stack, job.id.0, secret).await;
        assert_eq!(repeated, result, "{spec}");
    }
    stack.stop().await;
}

#[tokio::test]
async fn what_has_not_run_cannot_be_repeated() {
    let Some(stack) = Plan::default().workers(0).start().await else { return };
    let job = stack.api.submit(&json!({"command": "true"})).await;
    let reply = stack.api.get(&format!("/api/job/{}/repro", job.id)).await;
    assert_eq!(reply.status, 409, "{reply:?}");
    stack.stop().await;
}

#[tokio::test]
async fn a_job_tells_where_its_time_went_and_what_it_used() {
    let Some(stack) = Plan::default().start().await else { return };
    let spec = json!({
        "command": "end=$((SECONDS + 3)); while ((SECONDS < end)); do :; done; echo done",
        "resources": {"cpus": 0.1, "memory": "256m"},
    });
    let job = stack.api.run(&spec).await;
    let usage = job.usage.expect("a sandbox reports it");
    assert!(
        usage.throttles.is_some_and(|times| times > 3),
        "a tenth of a core is not enough: {usage:?}"
    );
    assert!(usage.throttled_ms.is_some_and(|millis| millis > 300), "{usage:?}");
    assert!(usage.image_ms.is_some() && usage.start_ms.is_some(), "{usage:?}");
    assert!(usage.drain_ms.is_some(), "{usage:?}");
    let attempts: Value =
        serde_json::to_value(stack.api.attempts(job.id).await).expect("it is JSON");
    let attempt = &attempts[0];
    assert_eq!(attempt["logBytes"], 5, "{attempt}");
    assert!(attempt["queuedMs"].is_u64(), "{attempt}");
    assert!(attempt["ran"]["imageId"].as_str().is_some_and(|it| it.starts_with("sha256:")));
    let shown = stack.cli(&["get", &job.id.to_string()]).await;
    let shown = shown.expect(0).stdout;
    for part in
        ["throttled", ", of 256 MiB", "phases      queued ", " drain ", "asked 256 MiB, used "]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    stack.stop().await;
}
