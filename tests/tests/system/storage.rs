//! The disk under the master: full, nearly full, read-only, gone. What was accepted is kept, what
//! cannot be done is refused with a reason, and everything works again without a restart when the
//! fault is over.

use std::{fs, path::Path, process::Command};

use futures::StreamExt;
use orchestra_contracts::{JobId, JobStatus, PROBLEM_JSON, Problem, ProblemKind, paths};
use orchestra_tests::{Api, Plan, Reply, Stack, program, skip, wait};
use serde_json::json;

const LINES: usize = 400_000;

/// Checks for a 503 with Retry-After; returns its message.
#[track_caller]
fn refusal(reply: &Reply) -> String {
    assert_eq!(reply.status, 503, "{reply:?}");
    assert_eq!(reply.header("content-type"), Some(PROBLEM_JSON));
    let again: u32 =
        reply.header("retry-after").expect("it says when").parse().expect("in seconds");
    assert!(again > 0);
    let problem: Problem = reply.json();
    assert_eq!(problem.kind, ProblemKind::Unavailable);
    format!("{}; {}", problem.detail, problem.hint.unwrap_or_default())
}

async fn submit(api: &Api) -> Reply {
    api.post(paths::JOBS, &json!({"command": "true"})).await
}

async fn ready(api: &Api) {
    wait::until("the master to be ready", wait::SOON, async || {
        (api.get(paths::READYZ).await.status == 200).then_some(())
    })
    .await;
}

/// Submits until a job is refused: a few still fit into free pages of the database.
async fn submit_until_refused(api: &Api) -> (Vec<JobId>, String) {
    let mut accepted = Vec::new();
    for _ in 0..100_000 {
        let reply = submit(api).await;
        if reply.status != 201 {
            return (accepted, refusal(&reply));
        }
        accepted.push(reply.json::<orchestra_contracts::Job>().id);
    }
    panic!("the disk is full and jobs are still accepted");
}

/// Waits so long that a lease without renewal would be over.
async fn one_lease_later(stack: &Stack, lease: i64) {
    let seen = async || stack.api.workers().await[0].seen_at;
    let begun = seen().await;
    wait::until("heartbeats to be stored", wait::SOON, async || {
        (seen().await.duration_since(begun).as_secs() > lease).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_full_disk_costs_no_job_and_heals_without_a_restart() {
    let plan = Plan::default().disk("32m").setting("ORCHESTRA_MIN_FREE", "0");
    let Some(stack) = plan.setting("ORCHESTRA_LEASE", "5s").start().await else { return };
    let api = &stack.api;
    let go = "until [ -e go ]; do sleep 0.05; done";
    let short = api.command(&format!("echo begun; {go}; echo done")).await.id;
    let long = api.command(&format!("{go}; seq 1 {LINES}")).await.id;
    api.reaches(short, JobStatus::Running).await;
    api.reaches(long, JobStatus::Running).await;
    let events = api.events(short, None).await;
    let reserve = stack.data().join("orchestra.db.reserve");
    assert!(reserve.exists());

    stack.disk().fill(0);
    let (accepted, words) = submit_until_refused(api).await;
    assert!(words.contains("disk is full") && words.contains("make room"), "{words}");
    assert!(!reserve.exists(), "room is given up for running jobs");
    assert!(refusal(&submit(api).await).contains("disk"));
    assert!(refusal(&api.get(paths::READYZ).await).contains("disk"));
    assert_eq!(api.get(paths::HEALTHZ).await.status, 200);
    assert_eq!(api.jobs("?limit=1000").await.len(), 2 + accepted.len());

    fs::write(stack.files().join("go"), "").expect("worker-files are on another disk");
    let ended = api.finished(short).await;
    assert_eq!((ended.status, ended.attempt.unwrap().0), (JobStatus::Completed, 1), "{ended:?}");
    assert_eq!(api.log(short, "").await, "begun\ndone\n");
    let names: Vec<_> = events.map(|event| event.event).collect().await;
    assert_eq!(names.last().map(String::as_str), Some("end"), "followers see the end: {names:?}");
    one_lease_later(&stack, 6).await;
    let held = api.job(long).await;
    assert_eq!((held.status, held.attempt.unwrap().0), (JobStatus::Running, 1), "{held:?}");

    stack.disk().empty();
    ready(api).await;
    assert!(reserve.exists());
    let ended = api.finished(long).await;
    assert_eq!((ended.status, ended.attempt.unwrap().0), (JobStatus::Completed, 1), "{ended:?}");
    let expected: Vec<_> = (1..=LINES).map(|line| format!("{line}\n")).collect();
    assert!(api.log(long, "").await == expected.concat(), "the log differs");
    for job in accepted {
        assert_eq!(
            api.finished(job).await.status,
            JobStatus::Completed,
            "a job answered with 201 is run"
        );
    }
    let after = api.command("echo after").await.id;
    assert_eq!(api.finished(after).await.output, "after\n");
    stack.stop().await;
}

#[tokio::test]
async fn below_the_mark_what_runs_goes_on_and_nothing_begins() {
    let plan = Plan::default().workers(0).disk("64m").setting("ORCHESTRA_MIN_FREE", "20m");
    let Some(stack) = plan.start().await else { return };
    let api = &stack.api;
    let claim = async || api.post(paths::CLAIM, &json!("curl")).await;
    let report = async |id: i64, status: &str| {
        let update = json!({"id": id, "assignedWorker": "curl", "status": status, "output": "hi"});
        api.post(paths::UPDATE, &update).await.status
    };
    for _ in 0..2 {
        assert_eq!(submit(api).await.status, 201);
    }
    assert_eq!(claim().await.status, 200);

    stack.disk().fill(22 << 20);
    assert_eq!(submit(api).await.status, 201, "above the mark");
    stack.disk().fill(18 << 20);
    let words = refusal(&submit(api).await);
    assert!(words.contains("disk is full, or nearly so"), "{words}");
    assert!(refusal(&api.get(paths::READYZ).await).contains("disk"));
    assert_eq!(claim().await.status, 204, "two jobs wait, and stay where they are");
    assert_eq!(report(1, "Running").await, 200);
    assert_eq!(report(1, "Completed").await, 200);
    assert_eq!(api.job(JobId(1)).await.output, "hi");

    stack.disk().empty();
    ready(api).await;
    assert_eq!(submit(api).await.status, 201);
    assert_eq!(claim().await.json::<orchestra_contracts::Job>().id, JobId(2));
    stack.stop().await;
}

#[tokio::test]
async fn a_second_master_is_refused_and_harms_nothing() {
    let Some(stack) = Plan::default().workers(0).start().await else { return };
    let job = stack.api.command("true").await.id;
    let lock = stack.data().join("orchestra.db.lock");
    let pid = fs::read_to_string(lock).unwrap();
    let mut second = program::command(["master"]);
    second.env("ORCHESTRA_LISTEN", "127.0.0.1:0").env("ORCHESTRA_DATA", stack.data());
    let said = program::run(second, wait::COMMAND).await.own_failure();
    assert!(said.contains(&format!("in use by process {}", pid.lines().next().unwrap())), "{said}");
    assert!(said.contains("stop that master"), "{said}");
    assert_eq!(stack.api.job(job).await.status, JobStatus::Pending);
    assert_eq!(submit(&stack.api).await.status, 201);
    stack.stop().await;
}

#[tokio::test]
async fn a_database_that_was_taken_away_is_missed_and_not_replaced() {
    let Some(stack) = Plan::default().workers(0).start().await else { return };
    let api = &stack.api;
    let job = api.command("true").await.id;
    let database = stack.data().join("orchestra.db");
    let aside = stack.folder().join("aside.db");
    fs::rename(&database, &aside).unwrap();
    for replaced in [false, true] {
        if replaced {
            fs::copy(&aside, &database).unwrap();
        }
        for reply in [
            submit(api).await,
            api.get(&paths::job(job)).await,
            api.get(paths::JOBS).await,
            api.get(&paths::log(job)).await,
            api.get(paths::READYZ).await,
            api.post(paths::CLAIM, &json!("curl")).await,
        ] {
            assert!(refusal(&reply).contains("put it back, or restart the master"), "{reply:?}");
        }
        assert_eq!(database.exists(), replaced, "none is created");
    }
    fs::rename(&aside, &database).unwrap();
    ready(api).await;
    assert_eq!(api.job(job).await.status, JobStatus::Pending);
    assert_eq!(submit(api).await.status, 201);
    stack.stop().await;
}

/// Makes the file immutable, even for processes that have it open. Returns false where the file system
/// does not support that.
fn protect(file: &Path, protected: bool) -> bool {
    let flag = if protected { "+i" } else { "-i" };
    let change = Command::new("chattr").arg(flag).arg(file).output();
    change.is_ok_and(|output| output.status.success())
}

/// Makes the files writable again when dropped, so that they can be removed.
struct Protected(Vec<std::path::PathBuf>);

impl Drop for Protected {
    fn drop(&mut self) {
        for file in &self.0 {
            protect(file, false);
        }
    }
}

#[tokio::test]
async fn a_read_only_database_is_read_and_waited_for() {
    let Some(stack) = Plan::default().workers(0).start().await else { return };
    let api = &stack.api;
    let job = api.command("true").await.id;
    let files = ["orchestra.db", "orchestra.db-wal"].map(|name| stack.data().join(name));
    let protected = Protected(files.to_vec());
    if !files.iter().all(|file| protect(file, true)) {
        return skip("read-only database", "files cannot be made immutable here");
    }
    for _ in 0..3 {
        refusal(&submit(api).await);
        assert!(refusal(&api.get(paths::READYZ).await).contains("who runs the master"));
        refusal(&api.post(paths::CLAIM, &json!("curl")).await);
        assert_eq!(api.job(job).await.status, JobStatus::Pending, "reads go on");
    }
    drop(protected);
    ready(api).await;
    assert_eq!(submit(api).await.status, 201);
    let claimed = api.post(paths::CLAIM, &json!("curl")).await;
    assert_eq!(claimed.json::<orchestra_contracts::Job>().id, job);
    stack.stop().await;
}
