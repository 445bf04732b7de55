//! The original example jobs, and commands that are hard to quote.

use std::{fs, time::Duration};

use orchestra_contracts::{Job, JobStatus, Outcome};
use orchestra_tests::{Plan, Stack};
use serde_json::json;

/// Runs a command that must succeed and returns its output.
async fn succeeds(stack: &Stack, command: &str) -> String {
    let job = stack.api.run(&json!({ "command": command })).await;
    assert_eq!(job.status, JobStatus::Completed, "{command:?}: {job:?}");
    assert_eq!((job.exit_code, job.error.as_str()), (Some(0), ""), "{command:?}");
    job.output
}

#[tokio::test]
async fn the_first_table() {
    let Some(stack) = Plan::default().start().await else { return };
    let files = stack.files();

    assert_eq!(succeeds(&stack, "mkdir Project").await, "");
    assert!(files.join("Project").is_dir());

    assert_eq!(succeeds(&stack, "touch file.txt").await, "");
    assert_eq!(fs::read(files.join("file.txt")).unwrap(), b"");

    assert_eq!(succeeds(&stack, "echo \"Hello World\" > hello.txt").await, "");
    assert_eq!(fs::read(files.join("hello.txt")).unwrap(), b"Hello World\n");
    assert_eq!(succeeds(&stack, "cat hello.txt").await, "Hello World\n");

    let greeting = succeeds(&stack, "g++ Hello.cpp -o Hello && ./Hello").await;
    assert!(greeting.starts_with("Hello"), "{greeting}");
    assert!(files.join("Hello").is_file());
    stack.stop().await;
}

/// Commands, and their exact output.
const HARD_TO_PASS_ON: &[(&str, &str)] = &[
    (
        r#"echo 'single "double"' "double 'single'" \"bare\""#,
        "single \"double\" double 'single' \"bare\"\n",
    ),
    (r"echo back\\slash 'a\tb' $'a\tb'", "back\\slash a\\tb a\tb\n"),
    ("X=5; echo $X ${X}0 $((X * 2)) '$X' \\$X", "5 50 10 $X $X\n"),
    ("printf 'b\\na\\n' | sort | tr a-z A-Z", "A\nB\n"),
    ("echo $(echo a; echo `echo b`)", "a b\n"),
    ("for i in 1 2 3\ndo\n\techo \"line $i\"\ndone\n", "line 1\nline 2\nline 3\n"),
    ("\n\n# a comment first\necho last # and one after\n\n", "last\n"),
    ("cat <<'END'\n$HOME `x` \\ \"q\" 'q'\nEND\n", "$HOME `x` \\ \"q\" 'q'\n"),
    ("NAME=you; cat <<END\nhello $NAME\nEND\necho after", "hello you\nafter\n"),
    ("cat <<< 'here string'", "here string\n"),
    ("echo 'Grüße, 世界 🎻'; V=ключ; echo ${#V}", "Grüße, 世界 🎻\n4\n"),
    ("echo {1..3}; [[ abc == a* ]] && echo bash", "1 2 3\nbash\n"),
    ("f() { echo \"f got $# $1\"; }; f 'one two'", "f got 1 one two\n"),
    ("trap 'echo bye' EXIT; echo hi", "hi\nbye\n"),
    ("printf %s 'no line feed at the end'", "no line feed at the end"),
    ("printf '%s|' -n --help '%s' '\\n' '' ' '", "-n|--help|%s|\\n|| |"),
    ("exec 3>&1; echo three >&3", "three\n"),
    ("cat; echo end of input", "end of input\n"),
    ("! false; echo $?", "0\n"),
    ("echo \"${BASH_VERSION:+bash}\"; pwd -P > /dev/null && echo here", "bash\nhere\n"),
];

#[tokio::test]
async fn commands_reach_bash_unharmed() {
    let Some(stack) = Plan::default().start().await else { return };
    for (command, printed) in HARD_TO_PASS_ON {
        assert_eq!(succeeds(&stack, command).await, *printed, "{command:?}");
    }

    let command = "echo \"$GREETING\"; cat";
    let env = json!({"GREETING": "O'Neil says \"$HOME\" \\ \n`x` ünd"});
    let spec = json!({"command": command, "env": env, "stdin": "in\r\nput\t\\ 'é'"});
    let job = stack.api.run(&spec).await;
    assert_eq!(job.output, "O'Neil says \"$HOME\" \\ \n`x` ünd\nin\r\nput\t\\ 'é'");

    let long = format!("X='{}'; echo ${{#X}}", "y".repeat(60_000));
    assert_eq!(succeeds(&stack, &long).await, "60000\n");
    stack.stop().await;
}

#[tokio::test]
async fn every_exit_code_is_told() {
    let Some(stack) = Plan::default().slots(4).start().await else { return };
    let mut jobs = Vec::new();
    for code in 0..=255 {
        jobs.push((code, stack.api.command(&format!("exit {code}")).await.id));
    }
    for (code, id) in jobs {
        let job = stack.api.finished(id).await;
        let status = if code == 0 { JobStatus::Completed } else { JobStatus::Failed };
        assert_eq!((job.status, job.exit_code), (status, Some(code)), "{job:?}");
        assert_eq!(job.outcome, Some(Outcome::Exited { code }), "{job:?}");
    }
    stack.stop().await;
}

#[tokio::test]
async fn both_streams_arrive_apart_and_every_byte_as_it_was() {
    let Some(stack) = Plan::default().start().await else { return };
    let job = stack.api.run(&json!({"command": "echo out; echo err >&2; exit 4"})).await;
    assert_eq!((job.output.as_str(), job.error.as_str()), ("out\n", "err\n"));
    assert_eq!(stack.api.log(job.id, "?stream=stdout").await, "out\n");
    assert_eq!(stack.api.log(job.id, "?stream=stderr").await, "err\n");

    let command = "for i in {0..255}; do printf \"\\\\x$(printf %02x $i)\"; done";
    let job = stack.api.run(&json!({ "command": command })).await;
    let every_byte: Vec<u8> = (0..=255).collect();
    assert_eq!(stack.api.log(job.id, "?stream=stdout").await, every_byte);
    assert_eq!(job.output, String::from_utf8_lossy(&every_byte));
    stack.stop().await;
}

/// Each job waits for the other's file, so they end only if they run at the same time.
#[tokio::test]
async fn two_jobs_run_at_once_on_two_workers() {
    let plan = Plan::default().workers(2).slots(1).shared_files();
    let Some(stack) = plan.start().await else { return };
    let meet = |mine: &str, other: &str| {
        let command = format!("touch {mine}; until [ -e {other} ]; do sleep 0.05; done; echo met");
        json!({"command": command, "timeout": "100s"})
    };
    let one = stack.api.submit(&meet("one", "two")).await;
    let two = stack.api.submit(&meet("two", "one")).await;
    let one: Job = stack.api.finished(one.id).await;
    let two: Job = stack.api.finished(two.id).await;
    assert_eq!((one.output.as_str(), two.output.as_str()), ("met\n", "met\n"));
    assert_ne!(one.assigned_worker, two.assigned_worker);
    let overlap = one
        .finished_at
        .min(two.finished_at)
        .unwrap()
        .duration_since(one.started_at.max(two.started_at).unwrap());
    assert!(Duration::try_from(overlap).is_ok(), "{one:?} {two:?}");
    stack.stop().await;
}
