//! Jobs that misbehave: they kill what they can reach, close what they were given, never end, leave
//! processes behind, or destroy their shared folder.

use std::fs;

use orchestra_contracts::{Job, JobStatus, Outcome};
use orchestra_tests::{Plan, Stack, engine};
use serde_json::json;

async fn stack() -> Option<Stack> {
    Plan::default().setting("ORCHESTRA_GRACE", "1s").start().await
}

async fn run(stack: &Stack, command: &str) -> Job {
    stack.api.run(&json!({"command": command, "timeout": "1m"})).await
}

#[tokio::test]
async fn whatever_a_job_kills_or_closes_its_own_code_is_told() {
    let Some(stack) = stack().await else { return };
    for (command, code, output) in [
        ("sleep 600 & kill -9 -1; exit 4", 4, ""),
        ("kill 1; kill -9 1; kill -STOP 1; echo on; exit 3", 3, "on\n"),
        ("exec >&- 2>&-; exit 5", 5, ""),
        ("exec > /dev/null 2>&1; echo lost; exit 6", 6, ""),
        ("trap '' TERM INT HUP; kill $$; kill -INT $$; echo still; exit 9", 9, "still\n"),
        ("trap 'echo bye' EXIT; exit 8", 8, "bye\n"),
        ("read x; echo $?; cat; exit 7", 7, "1\n"),
    ] {
        let job = run(&stack, command).await;
        assert_eq!(job.outcome, Some(Outcome::Exited { code }), "{command}: {job:?}");
        assert_eq!(job.output, output, "{command}");
        assert!(job.usage.is_some_and(|usage| usage.peak_memory > 0), "{command}: {job:?}");
    }
    stack.stop().await;
}

/// All 256 exit codes are tested on the sandbox alone; here only those with a special meaning.
#[tokio::test]
async fn exit_codes_arrive_as_they_are() {
    let Some(stack) = stack().await else { return };
    for code in [0, 1, 2, 124, 125, 126, 127, 128, 129, 137, 143, 255] {
        let job = run(&stack, &format!("exit {code}")).await;
        assert_eq!(job.outcome, Some(Outcome::Exited { code }), "{job:?}");
        assert_eq!(job.exit_code, Some(code));
    }
    stack.stop().await;
}

#[tokio::test]
async fn a_job_that_stops_itself_runs_into_its_timeout() {
    let Some(stack) = stack().await else { return };
    for command in ["kill -STOP $$", "trap '' TERM; kill -STOP $$; sleep 600"] {
        let job = stack.api.run(&json!({"command": command, "timeout": "1s"})).await;
        assert_eq!(job.outcome, Some(Outcome::TimedOut), "{command}: {job:?}");
    }
    engine::all_gone(&stack.workers[0].name).await;
    stack.stop().await;
}

#[tokio::test]
async fn each_step_towards_the_end_is_a_line_of_the_log() {
    let Some(stack) = stack().await else { return };
    let command = "trap '' TERM; echo on; while :; do sleep 0.1; done";
    let job = stack.api.run(&json!({"command": command, "timeout": "1s"})).await;
    assert_eq!((job.outcome, job.output.as_str()), (Some(Outcome::TimedOut), "on\n"));
    let log = stack.api.log(job.id, "?stream=system").await;
    let log = String::from_utf8_lossy(&log);
    let steps = [
        "timed out after 1s: sent SIGTERM, SIGKILL follows after 1s",
        "the grace time is over: sent SIGKILL",
    ];
    let at = steps.map(|step| log.find(step).unwrap_or_else(|| panic!("no {step:?} in {log}")));
    assert!(at[0] < at[1], "{log}");
    stack.stop().await;
}

/// What the process would do later never happens.
#[tokio::test]
async fn nobody_outlives_the_job_that_began_them() {
    let Some(stack) = stack().await else { return };
    for (number, escape) in [
        "(sleep 2; touch late) &",
        "setsid nohup bash -c 'sleep 2; touch late' > /dev/null 2>&1 &",
        "(setsid bash -c '(trap \"\" TERM HUP; sleep 2; touch late) & exit' > /dev/null 2>&1 &)",
    ]
    .into_iter()
    .enumerate()
    {
        let job = run(&stack, &format!("{escape}\necho {number}")).await;
        assert_eq!(job.status, JobStatus::Completed, "{escape}: {job:?}");
        assert!(job.usage.is_some_and(|usage| usage.wall_ms < 2_000), "{escape}: {job:?}");
    }
    assert_eq!(run(&stack, "sleep 3; ls late").await.exit_code, Some(2));
    assert!(!stack.files().join("late").exists());
    stack.stop().await;
}

#[tokio::test]
async fn the_next_job_runs_whatever_this_one_did_to_their_folder() {
    let Some(stack) = stack().await else { return };
    let files = stack.files().to_owned();
    let emptied = run(&stack, "rm -rf /work/* /work/.[!.]*; rmdir /work; ls -A; exit 2").await;
    assert_eq!((emptied.exit_code, emptied.output.as_str()), (Some(2), ""), "{emptied:?}");
    let shut = run(&stack, "echo x > left; chmod 000 /work; exit 3").await;
    assert_eq!(shut.exit_code, Some(3), "{shut:?}");
    let next = run(&stack, "cat left && echo y > made && pwd").await;
    assert_eq!(next.output, "x\n/work\n", "{next:?}");
    assert_eq!(fs::read_to_string(files.join("made")).unwrap(), "y\n");
    stack.stop().await;
}

/// Pipes, links to everywhere, odd names, a very deep folder and no device: neither the worker that
/// starts beside them nor the next job is affected.
#[tokio::test]
async fn odd_files_in_their_folder_mislead_nobody() {
    let Some(mut stack) = stack().await else { return };
    let odd = r"set -e; mkfifo pipe; ln -s / root; ln -s /etc/shadow shadow; ln -s nowhere dangling; ln -s loop loop
        touch $(printf 'x%.0s' {1..255}) $'\xff\xfe' $'new\nline' -- -rf ' '
        mknod device c 1 3 2> /dev/null && echo a device; mkdir -m 000 shut
        mkdir -p $(printf 'd/%.0s' {1..1500})
        ln $(which bash) hard 2> /dev/null && echo a link to the image; cat shadow 2> /dev/null || echo done";
    let made = run(&stack, odd).await;
    assert_eq!((made.exit_code, made.output.as_str()), (Some(0), "done\n"), "{made:?}");
    stack.workers[0].program.kill();
    stack.restart_worker().await;
    let next = run(
        &stack,
        "echo y > made && cat made && chmod 700 shut && find . -mindepth 1 -delete; ls -A",
    )
    .await;
    assert_eq!((next.exit_code, next.output.as_str()), (Some(0), "y\n"), "{next:?}");
    assert!(!stack.files().join("d").exists() && !stack.files().join("pipe").exists());
    stack.stop().await;
}
