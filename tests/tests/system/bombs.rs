//! Bombs: jobs that exhaust one resource after another. Each ends as its limit specifies. Meanwhile a
//! neighbour's jobs complete and the API answers.
//!
//! The bounds tell when a machine is unusable, however slow it is. The printed table shows how the
//! neighbour fared.

use std::time::{Duration, Instant};

use orchestra_contracts::{Job, JobStatus, Outcome};
use orchestra_tests::{Plan, Stack, engine, say, wait};
use serde_json::{Value, json};
use tokio::time::sleep;

/// Limit for a short job of the neighbour, from submission to end.
const NEIGHBOUR: Duration = Duration::from_secs(30);
/// Limit for the 99th percentile of the API's response times.
const API: Duration = Duration::from_secs(3);
/// Pause between two requests.
const PAUSE: Duration = Duration::from_millis(20);
/// Timeout of bombs that would run for ever.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long after its timeout a bomb may end: the grace time, plus the delay of a busy machine.
const LATE: Duration = Duration::from_secs(20);

/// How a bomb must end.
#[derive(Clone, Copy, Debug)]
enum Ends {
    TimedOut,
    OutOfMemory,
    /// By itself, with this in its output.
    Prints(&'static str),
}

/// Name, command, requested resources, and expected end.
type Bomb = (&'static str, &'static str, &'static str, Ends);

const BOMBS: &[Bomb] = &[
    (
        "processes",
        "bomb() { bomb | bomb & }; bomb 2> /dev/null; while :; do :; done",
        "{}",
        Ends::TimedOut,
    ),
    (
        "processes, and the shell waits for none",
        "while :; do sleep 60 & done 2> /dev/null; while :; do :; done",
        r#"{"pids": 64}"#,
        Ends::TimedOut,
    ),
    ("memory", "for i in {1..8}; do tail /dev/zero & done; wait", "{}", Ends::OutOfMemory),
    (
        "/tmp and /dev/shm",
        "for place in /tmp /dev/shm; do head -c 2G /dev/zero > $place/x; done; echo $(df -k --output=avail /tmp /dev/shm | tail -n 2) left",
        "{}",
        Ends::Prints("0 0 left"),
    ),
    (
        "/tmp, and more of it than memory",
        "head -c 2G /dev/zero > /tmp/x; echo full",
        r#"{"memory": "64m", "tmp": "512m"}"#,
        Ends::OutOfMemory,
    ),
    (
        "empty files in /tmp",
        "i=0; while : > /tmp/$i; do i=$((i + 1)); done 2> /dev/null; echo $i files",
        r#"{"tmp": "64m"}"#,
        Ends::Prints("1638"),
    ),
    (
        "files in worker-files",
        "mkdir many && cd many && for i in {1..20000}; do : > $i; done; ls | wc -l; rm -r ../many",
        "{}",
        Ends::Prints("20000"),
    ),
    (
        "one enormous file",
        "truncate -s 8191P huge; fallocate -l 100G huge; head -c 1M /dev/zero | dd of=huge bs=1 seek=5368709120 count=1; ls -s huge",
        "{}",
        Ends::Prints("0 huge"),
    ),
    (
        "descriptors",
        "for p in {1..60}; do (for i in {3..1500}; do eval \"exec $i> /dev/null\" || break; done 2> /dev/null; sleep 2) & done; wait; echo closed",
        "{}",
        Ends::Prints("closed"),
    ),
    (
        "processors",
        "for i in {1..64}; do while :; do :; done & done; while :; do :; done",
        r#"{"cpus": 2}"#,
        Ends::TimedOut,
    ),
];

/// Measured durations.
#[derive(Debug, Default)]
struct Times(Vec<Duration>);

impl Times {
    fn percentile(&mut self, of_100: usize) -> Duration {
        self.0.sort_unstable();
        self.0.get(self.0.len() * of_100 / 100).or(self.0.last()).copied().unwrap_or_default()
    }

    fn shown(&mut self) -> String {
        let (half, most) = (self.percentile(50), self.percentile(99));
        format!("{:>6} {:>6}", half.as_millis(), most.as_millis())
    }
}

async fn neighbour(stack: &Stack, times: &mut Times) {
    loop {
        let begun = Instant::now();
        let job = stack.api.run(&json!({"command": "seq 1 100 | tail -n 1"})).await;
        assert_eq!((job.status, job.output.as_str()), (JobStatus::Completed, "100\n"), "{job:?}");
        times.0.push(begun.elapsed());
    }
}

async fn requests(stack: &Stack, times: &mut Times) {
    loop {
        let begun = Instant::now();
        let _ = stack.api.get("/api/job?limit=5").await.expect(200);
        times.0.push(begun.elapsed());
        sleep(PAUSE).await;
    }
}

/// Measures a neighbour's jobs and the API's response times until `done`.
async fn beside<T>(stack: &Stack, done: impl Future<Output = T>) -> (T, Times, Times) {
    let (mut jobs, mut answers) = (Times::default(), Times::default());
    let done = tokio::select! {
        done = done => done,
        () = neighbour(stack, &mut jobs) => unreachable!("it goes on for ever"),
        () = requests(stack, &mut answers) => unreachable!("it goes on for ever"),
    };
    (done, jobs, answers)
}

async fn explode(stack: &Stack, (_, command, resources, ends): &Bomb) -> Job {
    let resources: Value = serde_json::from_str(resources).expect("the table has JSON");
    let timeout = if matches!(ends, Ends::TimedOut) { TIMEOUT } else { wait::SOON };
    let timeout = format!("{}s", timeout.as_secs());
    let spec = json!({"command": command, "resources": resources, "timeout": timeout});
    stack.api.run(&spec).await
}

fn check(name: &str, job: &Job, ends: Ends) {
    match ends {
        Ends::TimedOut => {
            assert_eq!(job.outcome, Some(Outcome::TimedOut), "{name}: {job:?}");
            let wall = Duration::from_millis(job.usage.expect("it ran").wall_ms);
            assert!(wall < TIMEOUT + LATE, "{name} was ended late: {job:?}");
        }
        Ends::OutOfMemory => assert_eq!(job.outcome, Some(Outcome::OutOfMemory), "{name}: {job:?}"),
        Ends::Prints(text) => assert!(job.output.contains(text), "{name}: {job:?}"),
    }
}

#[tokio::test]
async fn bombs_leave_the_machine_and_the_neighbours_usable() {
    let plan = Plan::default().setting("ORCHESTRA_GRACE", "1s").setting("ORCHESTRA_MAX_CPUS", "2");
    let Some(stack) = plan.start().await else { return };
    say("milliseconds: a neighbour's short job (p50, p99), an answer of the API (p50, p99)");
    let row = |name: &str, jobs: &mut Times, answers: &mut Times| {
        assert!(!jobs.0.is_empty() || name != "alone", "no job of the neighbour's got done");
        say(&format!("{} {} {name}", jobs.shown(), answers.shown()));
        assert!(jobs.percentile(100) < NEIGHBOUR, "{name}: a neighbour waited {jobs:?}");
        assert!(answers.percentile(99) < API, "{name}: the API took {answers:?}");
    };
    let ((), mut jobs, mut answers) = beside(&stack, sleep(TIMEOUT)).await;
    row("alone", &mut jobs, &mut answers);
    for bomb @ (name, .., ends) in BOMBS {
        let (job, mut jobs, mut answers) = beside(&stack, explode(&stack, bomb)).await;
        row(name, &mut jobs, &mut answers);
        check(name, &job, *ends);
    }
    // The neighbour's jobs that were still running when the bomb ended must end as well.
    for job in stack.api.jobs("").await {
        let job = stack.api.finished(job.id).await;
        assert_ne!(job.status, JobStatus::Cancelled, "{job:?}");
    }
    engine::all_gone(&stack.workers[0].name).await;
    stack.stop().await;
}
