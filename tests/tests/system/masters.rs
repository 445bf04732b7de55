//! Several masters on one PostgreSQL. All of them see what one was asked to do. When a master is
//! killed and the server crashes, nothing is lost or duplicated.

mod load;
mod upgrades;

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use orchestra_contracts::{
    JobStatus, ProblemKind, paths,
    worker::{Claimed, LEASE_HEADER, LogHead},
};
use orchestra_tests::{
    Api, Master, Masters, Plan, Postgres, engine, free_port,
    program::{self, Program},
    say, turn, wait,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use self::load::Load;

fn api(port: u16) -> Api {
    Api::new(format!("http://127.0.0.1:{port}"))
}

/// Three masters; `None` where there is no server.
async fn three(lease: &'static str) -> Option<(Masters, [Api; 3])> {
    let url = Postgres::shared()?.database();
    let mut masters = Masters::start(3, url, lease, Some(turn().await));
    masters.are_ready().await;
    let apis = [0, 1, 2].map(|number: usize| masters.all[number].api.clone());
    Some((masters, apis))
}

async fn claim(api: &Api, worker: &str, wait: &str) -> Vec<Claimed> {
    let terms = json!({"worker": worker, "slots": 1, "wait": wait});
    let reply = api.post(paths::CLAIM, &terms).await;
    if reply.status == 204 { Vec::new() } else { reply.expect(200).json() }
}

/// An encoded frame of standard output, as docs/protocol.md defines it.
fn frame(text: &str) -> Vec<u8> {
    let frame = orchestra_contracts::frame::Frame {
        time: 1,
        body: orchestra_contracts::frame::Body::Bytes(
            orchestra_contracts::frame::Stream::Stdout,
            text.to_owned().into(),
        ),
    };
    let mut bytes = bytes::BytesMut::new();
    frame.encode(&mut bytes);
    bytes.to_vec()
}

async fn upload(api: &Api, held: &Claimed, worker: &str, offset: u64, text: &str) -> LogHead {
    let path = paths::attempt_log(held.job.id, held.lease.attempt);
    let request = api
        .request(Method::POST, &format!("{path}?offset={offset}&worker={worker}"))
        .header(LEASE_HEADER, held.lease.token.as_str())
        .header("Content-Type", "application/octet-stream")
        .body(frame(text));
    api.send(request).await.expect(200).json()
}

fn report(held: &Claimed, worker: &str, status: JobStatus, more: Value) -> Value {
    let mut report = json!({
        "id": held.job.id, "status": status, "assignedWorker": worker,
        "attempt": held.lease.attempt, "leaseToken": held.lease.token,
    });
    if let (Some(report), Value::Object(more)) = (report.as_object_mut(), more) {
        report.extend(more);
    }
    report
}

/// Shorter than any polling interval, so a wake-up must have been sent.
const AT_ONCE: Duration = Duration::from_millis(800);

#[tokio::test]
async fn what_one_master_is_told_the_others_know() {
    let Some((masters, [one, two, three])) = three("60s").await else { return };
    // The claim waits at one master, and the job is submitted to another.
    let mut waits = Vec::new();
    for round in 0..3 {
        let claims = claim(&two, "w", "30s");
        let submits = async {
            sleep(Duration::from_millis(300)).await;
            let job = one.command("true").await;
            (job, Instant::now())
        };
        let (mut held, (job, submitted)) = tokio::join!(claims, submits);
        waits.push(submitted.elapsed());
        let held = held.pop().expect("it is handed out");
        assert_eq!(held.job.id, job.id, "round {round}");
        let mut events = three.events(job.id, None).await;
        let mut heard: Vec<String> = Vec::new();
        let mut text = async |wanted: &str| {
            let begun = Instant::now();
            while !heard.concat().contains(wanted) {
                let event = tokio::time::timeout(wait::SOON, events.next()).await;
                heard.push(event.expect("it comes").expect("the stream goes on").data);
            }
            begun.elapsed()
        };
        let running = report(&held, "w", JobStatus::Running, json!({}));
        let _ = one.post(paths::UPDATE, &running).await.expect(200);
        let head = upload(&one, &held, "w", 0, "first\n").await;
        waits.push(text("first").await);
        let head = upload(&two, &held, "w", head.offset, "second\n").await;
        waits.push(text("second").await);
        // A cancel through any master reaches the worker at any master.
        let orders = two.get("/api/worker/w/orders").await.expect(200).json::<Value>();
        let count = orders["count"].as_u64().expect("a count");
        let path = format!("/api/worker/w/orders?after={count}&wait=20s");
        let told = async {
            let _ = two.get(&path).await.expect(200);
            Instant::now()
        };
        let cancels = async {
            sleep(Duration::from_millis(200)).await;
            let _ = three.post(&paths::cancel(job.id), &json!({})).await;
            Instant::now()
        };
        let (told, cancelled) = tokio::join!(told, cancels);
        waits.push(told.saturating_duration_since(cancelled));
        let heartbeat = json!({"leases": [
            {"job": job.id, "attempt": held.lease.attempt, "token": held.lease.token}
        ]});
        let beat =
            two.post("/api/worker/w/heartbeat", &heartbeat).await.expect(200).json::<Value>();
        assert_eq!(beat["cancel"], json!([job.id]), "{beat}");
        let ended = report(
            &held,
            "w",
            JobStatus::Failed,
            json!({
                "outcome": {"kind": "cancelled"}, "log": {"offset": head.offset, "crc32": head.crc32},
            }),
        );
        let _ = two.post(paths::UPDATE, &ended).await.expect(200);
        let job = one.finished(job.id).await;
        assert_eq!((job.status, job.output.as_str()), (JobStatus::Cancelled, "first\nsecond\n"));
    }
    say(&format!("from master to master: {waits:?}"));
    waits.sort_unstable();
    assert!(
        waits[waits.len() / 2] < AT_ONCE,
        "masters are not notified of each other's changes: {waits:?}"
    );
    masters.stop().await;
}

#[tokio::test]
async fn a_token_that_one_master_takes_back_opens_no_other() {
    let Some(server) = Postgres::shared() else { return };
    let (url, turn) = (server.database(), turn().await);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tokens = folder.path().join("tokens");
    let start = |number: usize, port: u16| {
        let mut command = program::command(["master"]);
        command
            .env("ORCHESTRA_LISTEN", format!("127.0.0.1:{port}"))
            .env("ORCHESTRA_DATA", folder.path().join(format!("data-{number}")))
            .env("ORCHESTRA_SECRET_KEY_FILE", folder.path().join("secret.key"))
            .env("ORCHESTRA_TOKENS", &tokens)
            .env("ORCHESTRA_DATABASE_URL", &url);
        let log = folder.path().join(format!("{number}.log"));
        Master { port, api: api(port), program: Program::start("master", command, log) }
    };
    let mut all = Masters::start(0, url.clone(), "60s", Some(turn));
    // The first master creates the token files, and the second finds them.
    for number in 0..2 {
        all.all.push(start(number, free_port()));
        all.are_ready().await;
    }
    let admin = std::fs::read_to_string(tokens.join("admin/token")).expect("it was made");
    let [one, two] =
        [0, 1].map(|number: usize| all.all[number].api.clone().with_token(admin.trim()));
    let issued =
        one.post(paths::TOKENS, &json!({"role": "client"})).await.expect(201).json::<Value>();
    let (id, token) = (&issued["id"], issued["token"].as_str().expect("the token is shown once"));
    let theirs = api(all.all[1].port).with_token(token);
    wait::until("the other master to know it", wait::SOON, async || {
        (theirs.get(paths::JOBS).await.status == 200).then_some(())
    })
    .await;
    let revoked = two.request(Method::DELETE, &format!("/api/token/{id}"));
    assert_eq!(two.send(revoked).await.status, 200);
    let ours = api(all.all[0].port).with_token(token);
    wait::until("the first master to refuse it", wait::SOON, async || {
        (ours.get(paths::JOBS).await.status == 401).then_some(())
    })
    .await;
    all.stop().await;
}

#[tokio::test]
async fn a_worker_of_one_master_runs_what_another_was_given() {
    let Some(server) = Postgres::shared() else { return };
    let url = server.database();
    let others = Masters::start(0, url.clone(), "60s", None);
    let plan = Plan::default()
        .setting("ORCHESTRA_DATABASE_URL", url)
        .setting("ORCHESTRA_SECRET_KEY_FILE", others.key().display().to_string());
    let Some(stack) = plan.start().await else { return };
    let mut others = others;
    others.add(program::path());
    others.add(program::path());
    others.are_ready().await;
    let (second, third) = (others.all[0].api.clone(), others.all[1].api.clone());

    let spec = json!({"command": "echo $S; g++ Hello.cpp -o Hello && ./Hello", "secrets": {"S": "hush-hush-hush"}});
    let job = second.submit(&spec).await;
    let mut events = third.events(job.id, None).await;
    let mut heard = String::new();
    while let Some(event) = events.next().await {
        heard.push_str(&event.data);
    }
    assert!(heard.contains("Hello") && heard.contains("exited"), "{heard}");
    let job = third.finished(job.id).await;
    assert_eq!(job.status, JobStatus::Completed, "{job:?}");

    let job = second.command("echo begun; sleep 600").await;
    third.reaches(job.id, JobStatus::Running).await;
    let _ = second.post(&paths::cancel(job.id), &json!({})).await;
    let job = third.finished(job.id).await;
    assert_eq!(job.status, JobStatus::Cancelled, "{job:?}");
    engine::all_gone(&stack.workers[0].name).await;
    others.stop().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn masters_that_are_killed_and_a_database_that_crashes_lose_nothing() {
    let turn = turn().await;
    let Some(server) = Postgres::start() else { return };
    let url = server.database();
    let database = url.rsplit('/').next().expect("its name is the last part").to_owned();
    let mut masters = Masters::start(3, url, "4s", Some(turn));
    masters.are_ready().await;
    let mut load = Load::begin(&masters, Duration::from_millis(20));
    // Kills masters in turn, and crashes the server once, while there is work.
    let mut kills = 0;
    while kills < 4 || !load.is_submitted() {
        let victim = kills % 3;
        masters.all[victim].program.kill();
        if kills == 1 {
            tokio::task::block_in_place(|| server.crash_and_restart());
        }
        assert_eq!(tokio::task::block_in_place(|| server.miscounted(&database)), "");
        sleep(Duration::from_millis(700)).await;
        masters.again(victim);
        sleep(Duration::from_millis(1300)).await;
        kills += 1;
    }
    masters.are_ready().await;
    let told = load.ends_well().await;
    say(&format!("{kills} kills and a crash: {told}"));
    assert_eq!(tokio::task::block_in_place(|| server.miscounted(&database)), "");
    masters.stop().await;
}

#[tokio::test]
async fn a_second_master_on_one_sqlite_file_says_what_to_do() {
    let Some(stack) = Plan::default().workers(0).start().await else { return };
    let mut command = program::command(["master"]);
    command
        .env("ORCHESTRA_LISTEN", format!("127.0.0.1:{}", free_port()))
        .env("ORCHESTRA_DATA", stack.data());
    let said = program::run(command, wait::SOON).await.own_failure();
    assert!(said.contains("is in use by process"), "{said}");
    assert!(said.contains("postgres"), "{said}");
    let _ = stack.api.get("/api/job/1").await.problem(404, ProblemKind::NotFound);
    stack.stop().await;
}
