//! One run: builds a world from a seed, runs people and faults in it, and checks the history.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    panic,
    sync::{Arc, Once},
    thread,
    time::Duration,
};

use orchestra_client::{Client, ClientError, JobQuery};
use orchestra_contracts::{Job, JobStatus, Span};
use orchestra_master::{domain::RetryPolicy, service::Settings};
use orchestra_tests::check::{End, JobEnd, Judgement, Limits, What, check};
use tokio::{
    sync::Mutex,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    chance::{Chance, seed_this_thread},
    clients::{Habits, People, read},
    clocks::WallClock,
    disk::Disk,
    engine::Engine,
    faults::{World, any_weather},
    hosts::{MasterHost, WorkerHost, client},
    network::Network,
    record::{Along, Record},
};

/// The result of one run.
#[derive(Debug)]
pub struct Outcome {
    pub seed: u64,
    pub judgement: Judgement,
    /// Hash of the trace; the same for every run of the same seed.
    pub trace: u64,
    /// The trace line by line, if it was requested.
    pub lines: Vec<String>,
    pub jobs: usize,
    pub faults: u64,
    pub along: Along,
    /// Virtual time that the run took.
    pub took: Duration,
}

/// How long all jobs may take once the faults are over.
const SETTLE: Duration = Duration::from_mins(10);

/// Quiet time after that. By its end, the last call that was in progress when the faults ended has
/// been given up and made again.
const QUIET: Duration = Duration::from_mins(1);

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Runs one seed on its own thread.
///
/// # Panics
/// When the harness itself fails.
pub fn run(seed: u64, keeps_lines: bool) -> Outcome {
    watch_panics();
    let run = thread::Builder::new().name(format!("seed {seed}")).spawn(move || {
        seed_this_thread(seed);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime that does no input or output can be built");
        runtime.block_on(play(seed, keeps_lines))
    });
    let run = run.expect("a thread can be started");
    run.join().unwrap_or_else(|_| panic!("the harness failed with seed {seed}"))
}

/// Installs a panic hook that records panics per thread.
fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            PANICS.with_borrow_mut(|panics| panics.push(panic.to_string()));
            before(panic);
        }));
    });
}

async fn play(seed: u64, keeps_lines: bool) -> Outcome {
    let start = Instant::now();
    let record = Arc::new(Record::new(start, keeps_lines));
    let chance = Chance::of(seed, "world");
    let world = build(seed, &chance, &record, start);
    world.master.lock().await.start().await;
    for worker in &world.workers {
        sleep(chance.millis(0, 500)).await;
        worker.lock().await.start();
    }
    if chance.permille(700) {
        world.network.set_weather(any_weather(&chance, world.lease));
    }

    let people = People::new(Habits::default(), Chance::of(seed, "people"), record.clone());
    let mut days = JoinSet::new();
    for host in &world.hosts[world.workers.len()..] {
        let submits = chance.number(2, 6);
        days.spawn(people.clone().day(client(&world.network, host), submits));
    }
    let long = chance.millis(15_000, 60_000);
    world.trouble(&Chance::of(seed, "faults"), long).await;
    while days.join_next().await.is_some() {}

    let observer = client(&world.network, "observer");
    settle(&observer, &people, &record).await;
    sleep(QUIET).await;
    let mut end = read_all(&observer, &record).await;
    for worker in &world.workers {
        let mut host = worker.lock().await;
        if !host.stop().await {
            end.left.get_or_insert_default().push(format!("{} did not stop", host.name));
        }
    }
    world.master.lock().await.stop().await;
    end.left.get_or_insert_default().extend(world.engine.left());
    people.tell();
    let panic = PANICS.with_borrow_mut(|panics| (!panics.is_empty()).then(|| panics.join("; ")));
    record.note(What::Printed { program: "simulation".to_owned(), panic });

    let faults = record.faults();
    let (history, trace, lines) = record.finish();
    let limits = Limits { outlive: Duration::ZERO, settle: SETTLE, ..Limits::default() };
    let judgement = check(&history, &end, &limits);
    let jobs = end.jobs.len();
    let along = record.along();
    Outcome { seed, judgement, trace, lines, jobs, faults, along, took: start.elapsed() }
}

fn build(seed: u64, chance: &Chance, record: &Arc<Record>, start: Instant) -> Arc<World> {
    const WORKERS: [&str; 3] = ["worker-1", "worker-2", "worker-3"];
    const CLIENTS: [&str; 2] = ["client-1", "client-2"];
    let lease = Duration::from_secs(*chance.one_of(&[2, 5, 10, 30]));
    let network = Network::new(Chance::of(seed, "network"), record.clone());
    let disk = Disk::new(Chance::of(seed, "disk"), record.clone());
    let engine = Engine::new(Chance::of(seed, "engine"), record.clone());
    let clock = Arc::new(WallClock::new(start));
    let settings = Settings {
        lease: lease.into(),
        max_lease: Span(lease * 3),
        job_timeout: Span::from_secs(20),
        max_job_timeout: Span::from_secs(60),
        retry: RetryPolicy { max: Span::from_secs(5), ..RetryPolicy::default() },
        ..Settings::default()
    };
    let master = MasterHost::new(network.clone(), disk.clone(), clock.clone(), settings);
    let count = chance.number(1, 3) as usize;
    let workers = WORKERS[..count].iter().map(|name| {
        let slots = chance.number(1, 3) as u32;
        let grace = chance.millis(0, 4_000);
        let host = WorkerHost::new(name, network.clone(), engine.clone(), slots, grace);
        Arc::new(Mutex::new(host))
    });
    let workers = workers.collect();
    let people = chance.number(1, 2) as usize;
    let hosts = WORKERS[..count].iter().chain(&CLIENTS[..people]).copied().collect();
    let (record, master) = (record.clone(), Arc::new(Mutex::new(master)));
    Arc::new(World { record, network, disk, engine, clock, master, workers, hosts, lease })
}

/// Reads all jobs until they have finished, or the time is over.
pub async fn settle(observer: &Client, people: &People, record: &Record) {
    let until = Instant::now() + SETTLE + Duration::from_mins(1);
    for id in people.jobs() {
        while Instant::now() < until {
            let since = record.now();
            match observer.job(id).await {
                Ok(Job { status, attempt, outcome, .. }) => {
                    record.note(What::Seen { job: id, since, status, attempt, outcome });
                    if status.is_final() {
                        break;
                    }
                }
                Err(ClientError::Refused(problem)) if problem.status == 404 => {
                    record.note(What::Missing { job: id, since });
                    break;
                }
                Err(error) => record.line(format_args!("observer: {error}")),
            }
            sleep(Duration::from_secs(1)).await;
        }
    }
    // Jobs whose submission was never answered must finish as well.
    while Instant::now() < until {
        let statuses = vec![JobStatus::Pending, JobStatus::Assigned, JobStatus::Running];
        let query = JobQuery { statuses, limit: Some(1), ..JobQuery::default() };
        if observer.jobs(&query).await.is_ok_and(|page| page.jobs.is_empty()) {
            return;
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// Reads all jobs with their attempts and logs, once everything is healed.
///
/// # Panics
/// When the master does not answer.
pub async fn read_all(observer: &Client, record: &Record) -> End {
    let mut jobs = Vec::new();
    for job in list_all(observer).await {
        let attempts = observer.attempts(job.id).await.expect("a healed master lists attempts");
        let mut logs = BTreeMap::new();
        if job.status.is_final() {
            read(observer, job.id, &mut logs, None).await.expect("a healed master serves logs");
        }
        let logs = attempts
            .iter()
            .map(|attempt| (attempt.number, logs.remove(&attempt.number).unwrap_or_default()))
            .collect();
        jobs.push(JobEnd { job, attempts, logs });
    }
    End { at: record.now(), jobs, fenced: None, left: Some(Vec::new()) }
}

async fn list_all(observer: &Client) -> Vec<Job> {
    let mut query = JobQuery { limit: Some(1_000), ..JobQuery::default() };
    let mut all = Vec::new();
    loop {
        let page = observer.jobs(&query).await.expect("a healed master lists its jobs");
        all.extend(page.jobs);
        query.cursor = page.next;
        if query.cursor.is_none() {
            return all;
        }
    }
}
