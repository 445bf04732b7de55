//! Several masters on one PostgreSQL: whatever is asked of one, the others know; one that is killed,
//! and a server that crashes meanwhile, lose nothing and double nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use orchestra_contracts::{
    AttemptNo, Job, JobId, JobStatus, ProblemKind, paths,
    worker::{Claimed, LEASE_HEADER, LogHead},
};
use orchestra_tests::{
    Api, Master, Masters, Plan, Postgres, engine, free_port,
    program::{self, Program},
    say, turn, wait,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep};

fn api(port: u16) -> Api {
    Api::new(format!("http://127.0.0.1:{port}"))
}

/// Three of them; `None` where there is no server.
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

/// A frame of standard output, as docs/protocol.md says.
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

/// Nobody polls as often as this.
const AT_ONCE: Duration = Duration::from_millis(800);

#[tokio::test]
async fn what_one_master_is_told_the_others_know() {
    let Some((masters, [one, two, three])) = three("60s").await else { return };
    // The claim waits at one before the job comes to another.
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
        // Cancelled anywhere, told anywhere.
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
    assert!(waits[waits.len() / 2] < AT_ONCE, "masters are not told of each other: {waits:?}");
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
    // The first makes the tokens' files, the second finds them.
    for number in 0..2 {
        all.all.push(start(number, free_port()));
        all.are_ready().await;
    }
    let admin = std::fs::read_to_string(tokens.join("admin/token")).expect("it was made");
    let [one, two] =
        [0, 1].map(|number: usize| all.all[number].api.clone().with_token(admin.trim()));
    let issued =
        one.post(paths::TOKENS, &json!({"role": "client"})).await.expect(201).json::<Value>();
    let (id, token) = (&issued["id"], issued["token"].as_str().expect("it is told once"));
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

/// What the callers and workers of the load know.
#[derive(Default)]
struct Seen {
    /// Answered with 201, by key.
    submitted: BTreeMap<String, JobId>,
    /// Attempts whose end was accepted.
    ended: BTreeMap<JobId, BTreeSet<AttemptNo>>,
    /// Answers that never came, or said that the database was away.
    failures: usize,
}

const JOBS: usize = 400;
const CALLERS: usize = 4;
const WORKERS: usize = 8;

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Any of the masters, in turn; the next one after a failure.
struct Door {
    apis: Vec<Api>,
    next: usize,
}

impl Door {
    /// The answer, when one comes that is no failure of ours.
    async fn ask(
        &mut self,
        path: &str,
        body: &Value,
        key: Option<&str>,
        seen: &Mutex<Seen>,
    ) -> Option<(StatusCode, Value)> {
        self.next += 1;
        let api = &self.apis[self.next % self.apis.len()];
        let mut request =
            api.request(Method::POST, path).json(body).timeout(Duration::from_secs(20));
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let answered = async {
            let answer = request.send().await.ok()?;
            let status = answer.status();
            let text = answer.text().await.ok()?;
            (!status.is_server_error())
                .then(|| (status, serde_json::from_str(&text).unwrap_or(Value::Null)))
        };
        let answer = answered.await;
        if answer.is_none() {
            lock(seen).failures += 1;
            sleep(Duration::from_millis(50)).await;
        }
        answer
    }
}

async fn calls(number: usize, pace: Duration, mut door: Door, seen: Arc<Mutex<Seen>>) {
    for job in 0..JOBS / CALLERS {
        let key = format!("caller-{number}-{job}");
        let body = json!({"command": "true", "name": key, "maxRetries": 0});
        let id = loop {
            let Some((status, answer)) = door.ask(paths::JOBS, &body, Some(&key), &seen).await
            else {
                continue;
            };
            assert!(status.is_success(), "{status}: {answer}");
            break serde_json::from_value(answer["id"].clone()).expect("a job has an id");
        };
        lock(&seen).submitted.insert(key, id);
        sleep(pace).await;
    }
}

async fn works(number: usize, mut door: Door, seen: Arc<Mutex<Seen>>, over: Arc<AtomicBool>) {
    let name = format!("curl-{number}");
    let mut round = 0;
    while !over.load(Ordering::Relaxed) {
        round += 1;
        // The same request again, until there is an answer.
        let request = format!("{name}-{round}");
        let terms = json!({"worker": name, "slots": 1, "wait": "1s", "requestId": request});
        let held: Vec<Claimed> = loop {
            match door.ask(paths::CLAIM, &terms, None, &seen).await {
                Some((StatusCode::OK, answer)) => {
                    break serde_json::from_value(answer).expect("leases");
                }
                Some((status, answer)) => {
                    assert!(status.is_success(), "{status}: {answer}");
                    break Vec::new();
                }
                None => {}
            }
        };
        for held in held {
            let done = report(
                &held,
                &name,
                JobStatus::Completed,
                json!({"output": "done\n", "exitCode": 0}),
            );
            loop {
                match door.ask(paths::UPDATE, &done, None, &seen).await {
                    Some((StatusCode::OK, _)) => {
                        let mut seen = lock(&seen);
                        seen.ended.entry(held.job.id).or_default().insert(held.lease.attempt);
                        break;
                    }
                    // Its lease ran out while nobody could be reached.
                    Some((StatusCode::CONFLICT, _)) => break,
                    Some((status, answer)) => panic!("{status}: {answer}"),
                    None => {}
                }
            }
        }
    }
}

/// Callers and workers made of curl, who ask any of the masters.
struct Load {
    apis: Vec<Api>,
    seen: Arc<Mutex<Seen>>,
    over: Arc<AtomicBool>,
    workers: JoinSet<()>,
    callers: JoinSet<()>,
}

impl Load {
    /// Each caller waits so long after each of its submits.
    fn begin(masters: &Masters, pace: Duration) -> Self {
        let apis: Vec<Api> = masters.all.iter().map(|master| master.api.clone()).collect();
        let (seen, over) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicBool>::default());
        let door = |next| Door { apis: apis.clone(), next };
        let (mut workers, mut callers) = (JoinSet::new(), JoinSet::new());
        for number in 0..WORKERS {
            workers.spawn(works(number, door(number), seen.clone(), over.clone()));
        }
        for number in 0..CALLERS {
            callers.spawn(calls(number, pace, door(number), seen.clone()));
        }
        Self { apis, seen, over, workers, callers }
    }

    fn is_submitted(&mut self) -> bool {
        while let Some(ended) = self.callers.try_join_next() {
            ended.expect("every call is answered in the end");
        }
        self.callers.is_empty()
    }

    /// Waits for all ends. Nothing is lost, nothing doubled; in words, what happened.
    async fn ends_well(mut self) -> String {
        let api = &self.apis[0];
        wait::until("all jobs to end", wait::JOB, async || {
            let open = api.jobs("?status=Pending&limit=1").await.len()
                + api.jobs("?status=Assigned&limit=1").await.len();
            (open == 0).then_some(())
        })
        .await;
        self.over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.workers.join_next().await {
            ended.expect("every report is answered in the end");
        }
        let jobs: Vec<Job> = api.jobs("?limit=1000").await;
        let seen = std::mem::take(&mut *lock(&self.seen));
        let stored: BTreeMap<String, JobId> =
            jobs.iter().map(|job| (job.spec.name.clone().unwrap_or_default(), job.id)).collect();
        assert_eq!(jobs.len(), JOBS);
        assert_eq!(stored, seen.submitted, "each key is one job, and the one that was answered");
        for job in &jobs {
            let end = (job.status, job.output.as_str());
            assert_eq!(end, (JobStatus::Completed, "done\n"), "{job:?}");
            let ends = seen.ended.get(&job.id).map_or(0, BTreeSet::len);
            assert!(ends <= 1, "two attempts of job {} were told that they ended it", job.id);
        }
        let again = |job: &&Job| job.attempt.is_some_and(|attempt| attempt.0 > 1);
        let again = jobs.iter().filter(again).count();
        let failures = seen.failures;
        format!("{} jobs, {again} of them tried again, {failures} answers failed", jobs.len())
    }
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
    // One after the other, and the database once between them, while there is work.
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

/// Between two steps of an upgrade: for so long, masters of both versions work side by side.
const SIDE_BY_SIDE: Duration = Duration::from_secs(3);

/// What a program that is newer than both would do to the tables: a column that all have at once, one that
/// is filled, a table, an index, and the note that says so.
const NEWER: &str = "
    BEGIN;
    ALTER TABLE job ADD COLUMN newer_words text NOT NULL DEFAULT 'none';
    ALTER TABLE attempt ADD COLUMN newer_count bigint;
    CREATE TABLE newer (job bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
    CREATE FUNCTION newer() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO newer (job) VALUES (NEW.id); RETURN NEW; END $$;
    CREATE TRIGGER newer AFTER INSERT ON job FOR EACH ROW EXECUTE FUNCTION newer();
    CREATE INDEX newer_job ON job (newer_words, id);
    INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        VALUES (9999, 'additive newer', true, '\\x00', 0);
    COMMIT;";

/// From `ORCHESTRA_OLD`, an earlier program, to this one; without it, from this one to itself. Half-way the
/// tables become those of a newer program still, which only adds to them: those that run go on, those
/// that are started afterwards start, and one that is taken back to the old program does as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn masters_that_are_upgraded_one_by_one_lose_nothing() {
    let turn = turn().await;
    let Some(server) = Postgres::shared() else { return };
    let old = orchestra_tests::old_program();
    let old = old.as_deref().unwrap_or(program::path());
    let url = server.database();
    let database = url.rsplit('/').next().expect("its name is the last part").to_owned();
    let mut masters = Masters::start(0, url, "10s", Some(turn));
    for _ in 0..3 {
        masters.add(old);
        masters.are_ready().await;
    }
    // So that there is work from the first step to the last.
    let mut load = Load::begin(&masters, SIDE_BY_SIDE / 20);
    let rounds = [(0, program::path()), (1, program::path()), (2, old), (2, program::path())];
    let mut before = 0;
    for (round, (number, program)) in rounds.into_iter().enumerate() {
        sleep(SIDE_BY_SIDE).await;
        if round == 1 {
            before = lock(&load.seen).submitted.len();
            assert!(before < JOBS, "there is nothing left to do under the new tables");
            let _ = tokio::task::block_in_place(|| server.run(&database, NEWER));
            // The others go on meanwhile, and one goes as none should.
            masters.all[number].program.kill();
        } else {
            masters.all[number].program.terminate().await;
        }
        masters.again_as(number, program);
        masters.are_ready().await;
        // Also of what masters of the old program do.
        assert_eq!(tokio::task::block_in_place(|| server.miscounted(&database)), "");
    }
    wait::until("all jobs to be submitted", wait::JOB, async || load.is_submitted().then_some(()))
        .await;
    let told = load.ends_well().await;
    let count = |question: &str| {
        let said = tokio::task::block_in_place(|| server.run(&database, question));
        said.parse::<usize>().expect("it is a number")
    };
    assert_eq!(count("SELECT count(*) FROM job WHERE newer_words = 'none'"), JOBS);
    let since = count("SELECT count(*) FROM newer");
    assert_eq!(tokio::task::block_in_place(|| server.miscounted(&database)), "");
    assert!(since > 0 && since + before <= JOBS + CALLERS, "{since} since, {before} before");
    say(&format!(
        "from {} to this program: {told}; {since} jobs under newer tables",
        old.display()
    ));
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
