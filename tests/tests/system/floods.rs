//! Jobs that write more than a log holds: what is kept is exact, what is left out is counted, no
//! program's memory grows, and a job beside it is not affected.

use std::{
    fs,
    time::{Duration, Instant},
};

use orchestra_contracts::{
    AttemptNo, Job, JobId, JobStatus, Outcome, Size, paths, worker::LogHead,
};
use orchestra_tests::{Memory, Plan, Stack, flood, say};
use serde_json::json;

const HEAD: u64 = 4 << 20;
const TAIL: u64 = 1 << 20;
/// How much a program's memory may grow during a flood: room for an upload, a transaction and the
/// allocator, independent of the flood's size.
const GROWTH: u64 = 32 << 20;
/// How much slower a short job may be beside a flood, as a multiple. Both containers share two cores,
/// and the flood alone keeps them busy.
const SLOWER: u32 = 5;
/// Lower bound of a short job's usual time, so that a hiccup on a quiet machine does not matter.
const USUAL: Duration = Duration::from_millis(500);

async fn stack() -> Option<Stack> {
    let plan = Plan::default()
        .setting("ORCHESTRA_LOG_HEAD", Size(HEAD).to_string())
        .setting("ORCHESTRA_LOG_TAIL", Size(TAIL).to_string());
    plan.start().await
}

/// How much of the job's only attempt is stored, and how much was left out.
async fn head_of(stack: &Stack, job: JobId) -> LogHead {
    stack.api.get(&paths::attempt_log(job, AttemptNo(1))).await.expect(200).json()
}

/// The stored head and tail of the output of a job that wrote `bytes` in all.
async fn kept(stack: &Stack, job: &Job, bytes: u64) -> (Vec<u8>, Vec<u8>) {
    let stored = head_of(stack, job.id).await;
    assert_eq!((stored.output, stored.gap), (HEAD + TAIL, bytes - HEAD - TAIL), "{job:?}");
    let log = stack.api.log(job.id, "?stream=stdout").await;
    let marker = format!("[orchestra: {} bytes were left out here]\n", stored.gap).into_bytes();
    let at = log.windows(marker.len()).position(|part| part == marker);
    let at = at.expect("a line says how many bytes are missing");
    // The gap's line starts on a new line, whatever the head ends with.
    let head = &log[..HEAD as usize];
    assert!([&b""[..], b"\n"].contains(&&log[HEAD as usize..at]), "only the head precedes it");
    let tail = &log[at + marker.len()..];
    assert_eq!(tail.len() as u64, TAIL);
    (head.to_vec(), tail.to_vec())
}

/// Whether these bytes, from this offset on, repeat the pattern.
fn repeats(pattern: &[u8], kept: &[u8], from: u64) -> bool {
    let at = |index: usize| pattern[((from + index as u64) % pattern.len() as u64) as usize];
    kept.iter().enumerate().all(|(index, byte)| *byte == at(index))
}

/// Duration of a very short job, from submission to end.
async fn short(stack: &Stack) -> Duration {
    let begun = Instant::now();
    let job = stack.api.run(&json!({"command": "seq 1 1000"})).await;
    assert_eq!((job.status, job.output.len()), (JobStatus::Completed, 3893), "{job:?}");
    begun.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Runs the job, with short jobs beside it until it has ended.
async fn beside_short_ones(stack: &Stack, command: &str) -> (Job, Vec<Duration>) {
    let job = stack.api.submit(&json!({"command": command, "timeout": "10m"})).await;
    let mut beside = vec![short(stack).await];
    while !stack.api.job(job.id).await.status.is_final() {
        beside.push(short(stack).await);
    }
    (stack.api.job(job.id).await, beside)
}

fn grown(before: &[Memory], after: &[Memory]) -> u64 {
    let pairs = before.iter().zip(after);
    let growth = pairs.map(|(before, after)| {
        assert_eq!(before.program, after.program);
        after.peak.saturating_sub(before.now)
    });
    growth.max().expect("there are programs")
}

/// Writes `bytes` of a pattern. Producing them is fast, so the time measured is that of the transport.
async fn survives(stack: &Stack, what: &str, command: &str, pattern: &[u8], bytes: u64) {
    let mut usual = Vec::new();
    for _ in 0..5 {
        usual.push(short(stack).await);
    }
    let usual = median(usual);
    let before = stack.memory();
    let (job, beside) = beside_short_ones(stack, &format!("{command}; exit 7")).await;
    assert_eq!(job.outcome, Some(Outcome::Exited { code: 7 }), "{what}: {job:?}");
    let usage = job.usage.expect("it ran");
    assert!(usage.cpu_ms > 0 && usage.wall_ms > 0, "{usage:?}");

    let (head, tail) = kept(stack, &job, bytes).await;
    assert!(repeats(pattern, &head, 0), "{what}: the head differs");
    assert!(repeats(pattern, &tail, bytes - TAIL), "{what}: the tail differs");
    let growth = grown(&before, &stack.memory());
    let (jobs, beside) = (beside.len(), median(beside));
    say(&format!(
        "{what}: {} in {} ms; memory grew by {} MiB at most; a short job took {beside:?}, median of {jobs}, where it took {usual:?} before",
        Size(bytes),
        usage.wall_ms,
        growth >> 20
    ));
    assert!(growth < GROWTH, "{what}: {growth} bytes");
    assert!(beside < usual.max(USUAL) * SLOWER, "{what}: {beside:?} beside it, {usual:?} before");
}

#[tokio::test]
async fn a_flood_of_lines_of_two_bytes_is_cut_and_counted() {
    let Some(stack) = stack().await else { return };
    let bytes = flood();
    survives(&stack, "lines of two bytes", &format!("yes 1 | head -c {bytes}"), b"1\n", bytes)
        .await;
    stack.stop().await;
}

#[tokio::test]
async fn one_line_of_half_a_flood_is_cut_and_counted() {
    let Some(stack) = stack().await else { return };
    let bytes = flood() / 2;
    let command = format!("head -c {bytes} /dev/zero | tr '\\0' a");
    survives(&stack, "one line", &command, b"a", bytes).await;
    stack.stop().await;
}

#[tokio::test]
async fn colours_and_carriage_returns_are_bytes_like_others() {
    let Some(stack) = stack().await else { return };
    let (bytes, pattern) = (flood() / 8, b"\x1b[31m99 %\x1b[0m\x1b]0;title\x07\r\xff\n");
    let command = format!(r"yes $'\e[31m99 %\e[0m\e]0;title\a\r\xff' | head -c {bytes}");
    survives(&stack, "colours", &command, pattern, bytes).await;
    stack.stop().await;
}

#[tokio::test]
async fn noise_over_the_limit_keeps_both_its_ends() {
    let Some(stack) = stack().await else { return };
    let bytes = 4 * (HEAD + TAIL);
    let command = format!("head -c {bytes} /dev/urandom | tee noise");
    let job = stack.api.run(&json!({ "command": command })).await;
    assert_eq!((job.status, job.output_truncated), (JobStatus::Completed, true), "{job:?}");
    let written = fs::read(stack.files().join("noise")).expect("the file that the job wrote");
    let (head, tail) = kept(&stack, &job, bytes).await;
    assert!(written.starts_with(&head), "the head differs");
    assert!(written.ends_with(&tail), "the tail differs");
    stack.stop().await;
}
