//! The sandbox as a job finds it from within.

use orchestra_contracts::{JobStatus, Outcome};
use orchestra_tests::{Plan, Stack};
use serde_json::{Value, json};

/// What is asked from within, and what a tight sandbox answers.
const TIGHT: &[(&str, &str)] = &[
    ("[ $(id -u) != 0 ] && [ $(id -g) != 0 ] && echo ordinary", "ordinary"),
    ("grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb):' /proc/self/status | grep -v 0000000000000000", ""),
    ("grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t'", "NoNewPrivs:1\nSeccomp:2"),
    ("ls /sys/class/net", "lo"),
    ("touch /etc/mine /usr/mine /mine 2> /dev/null || echo read-only", "read-only"),
    ("cp /bin/echo /tmp/echo && /tmp/echo from tmp", "from tmp"),
    ("head -c 300m /dev/zero > /tmp/flood 2> /dev/null || echo bounded", "bounded"),
    ("ls /var/run/docker.sock /run/docker.sock 2> /dev/null", ""),
    ("find /dev -type b 2> /dev/null", ""),
    ("ulimit -c; ulimit -n", "0\n1024"),
    ("echo $$ > /proc/1/oom_score_adj 2> /dev/null || echo untouchable", "untouchable"),
    ("cat /proc/1/environ 2> /dev/null || echo unreadable", "unreadable"),
    ("kill -9 1 2> /dev/null; kill -STOP 1 2> /dev/null; echo survived", "survived"),
    ("env | grep -E '^(DOCKER|ORCHESTRA_(URL|TOKEN|DATA))'", ""),
    ("echo $ORCHESTRA_ATTEMPT; pwd; cd && pwd", "1\n/work\n/tmp"),
    ("readlink /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 | sort -u | wc -l", "3"),
    ("[ -t 0 ] || [ -t 1 ] || echo no terminal", "no terminal"),
];

async fn prints(stack: &Stack, command: &str, more: Value) -> String {
    let mut spec = more;
    spec["command"] = json!(command);
    stack.api.run(&spec).await.output.trim_end().to_owned()
}

#[tokio::test]
async fn a_job_finds_itself_shut_in() {
    let Some(stack) = Plan::default().start().await else { return };
    for (question, answer) in TIGHT {
        assert_eq!(prints(&stack, question, json!({})).await, *answer, "{question}");
    }
    stack.stop().await;
}

#[tokio::test]
async fn limits_hold_and_can_be_chosen() {
    let Some(stack) = Plan::default().start().await else { return };
    let fork = "for i in {1..40}; do sleep 5 & done; jobs -r | wc -l";
    let few = stack.api.run(&json!({"command": fork, "resources": {"pids": 20}})).await;
    assert_eq!(few.status, JobStatus::Failed, "bash gives up when it cannot fork: {few:?}");
    assert!(few.error.contains("Resource temporarily unavailable"), "{few:?}");
    assert_eq!(prints(&stack, fork, json!({"resources": {"pids": 100}})).await, "40");

    let size = "df --output=size -k /tmp | tail -1 | tr -d ' '";
    assert_eq!(prints(&stack, size, json!({"resources": {"tmp": "8m"}})).await, "8192");

    let busy = "timeout 2 bash -c 'while :; do :; done'; times | tail -1";
    let job = stack.api.run(&json!({"command": busy, "resources": {"cpus": 0.25}})).await;
    let usage = job.usage.expect("an attempt that ran has used something");
    assert!(usage.cpu_ms < 1_500, "a quarter of a core for two seconds: {usage:?}");
    assert!(usage.wall_ms >= 2_000 && usage.peak_memory > 0, "{usage:?}");

    let greedy = json!({"command": "true", "resources": {"memory": "999g"}});
    let job = stack.api.run(&greedy).await;
    assert_eq!(job.status, JobStatus::Failed);
    assert!(matches!(job.outcome, Some(Outcome::Refused { .. })), "{job:?}");
    let bridged = stack.api.run(&json!({"command": "true", "network": "bridge"})).await;
    assert!(matches!(bridged.outcome, Some(Outcome::Refused { .. })), "{bridged:?}");
    stack.stop().await;
}
