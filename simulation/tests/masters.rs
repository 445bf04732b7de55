//! Three real masters on PostgreSQL. One of them is killed every two seconds, and the server
//! crashes now and then. What real workers and people observe is judged by I1 to I12.
//!
//! ```sh
//! ORCHESTRA_MASTERS_JOBS=10000 cargo test --release -p orchestra-simulation --test masters -- --nocapture
//! ```

use std::{sync::Arc, time::Duration};

use orchestra_simulation::{
    balancer::Street,
    chance::Chance,
    clients::{Habits, People},
    engine::Engine,
    record::Record,
    run::{read_all, settle},
    script::Script,
    settings,
    staff::Colleague,
};
use orchestra_tests::{
    Masters, Postgres,
    chaos::{Recorder, measure},
    check::{Invariant, Limits, Phase, What, check},
    say, turn,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

const LEASE: &str = "6s";
const MASTERS: usize = 3;
const WORKERS: usize = 12;
const SLOTS: u32 = 8;
const PEOPLE: u64 = 24;
/// Time between two kills of a master.
const KILLS: Duration = Duration::from_secs(2);
/// How long it stays down.
const AWAY: Duration = Duration::from_millis(700);
/// A worker is killed, and the server crashed, once every so many kills of a master.
const PER_WORKER: usize = 3;
const PER_CRASH: usize = 7;

fn limits() -> Limits {
    Limits {
        // The observer's tasks share two cores with everything they observe.
        overlap: Duration::from_millis(500),
        outlive: Duration::from_secs(1),
        settle: Duration::from_mins(10),
        ..Limits::default()
    }
}

/// Everything that takes part.
struct World {
    server: Postgres,
    masters: Masters,
    workers: Vec<Colleague>,
    street: Arc<Street>,
    record: Arc<Record>,
    /// Records what is seen of processes and of stale writes.
    recorder: Recorder,
    chance: Chance,
}

impl World {
    fn fault(&self, kind: &str, target: impl Into<String>) {
        self.record.note(What::Fault { kind: kind.to_owned(), target: target.into() });
    }

    /// Kills one process and restarts it, then waits until the next kill is due.
    async fn strike(&mut self, number: usize) {
        let next = Instant::now() + KILLS;
        let victim = self.chance.number(0, MASTERS as u64 - 1) as usize;
        self.fault("kill", format!("master-{victim}"));
        self.masters.all[victim].program.kill();
        if number % PER_CRASH == PER_CRASH - 1 {
            self.fault("crash", "PostgreSQL");
            tokio::task::block_in_place(|| self.server.crash_and_restart());
        }
        if number % PER_WORKER == PER_WORKER - 1 {
            let worker = self.chance.number(0, WORKERS as u64 - 1) as usize;
            self.fault("kill", self.workers[worker].name.to_string());
            self.workers[worker].kill();
        }
        sleep(AWAY).await;
        self.masters.again(victim);
        // Killed workers come back, some sooner than a lease and some later.
        for worker in &mut self.workers {
            if self.chance.permille(200) {
                worker.start();
            }
        }
        self.measure();
        tokio::time::sleep_until(next).await;
    }

    fn measure(&self) {
        for (number, master) in self.masters.all.iter().enumerate() {
            let name = format!("master-{number}");
            measure::record(&self.recorder, &name, &master.program, Phase::During);
        }
    }

    async fn heal(&mut self) {
        for worker in &mut self.workers {
            worker.start();
        }
        self.masters.are_ready().await;
        self.record.note(What::Healed);
    }

    /// Sends stale writes for every superseded lease to each master.
    async fn late_words(&self) {
        for master in &self.masters.all {
            self.street.zombie.speak(&master.api.url(""), &self.recorder).await;
        }
    }

    /// Records what all masters printed, and what the recorder saw.
    fn tell(&self) {
        for (number, master) in self.masters.all.iter().enumerate() {
            let printed = master.program.printed();
            let panic = printed.lines().find(|line| line.contains("panicked")).map(str::to_owned);
            self.record.note(What::Printed { program: format!("master-{number}"), panic });
        }
        for event in self.recorder.history().events {
            self.record.note(event.what);
        }
    }
}

fn build(server: Postgres, masters: Masters, seed: u64) -> World {
    let record = Arc::new(Record::new(Instant::now(), false));
    let ports = masters.all.iter().map(|master| master.port).collect();
    let street = Street::new(ports, record.clone());
    let engine = Engine::new(Chance::of(seed, "engine"), record.clone());
    let workers = (0..WORKERS).map(|number| Colleague::new(number, SLOTS, &street, &engine));
    let (workers, chance) = (workers.collect(), Chance::of(seed, "faults"));
    World { server, masters, workers, street, record, recorder: Recorder::default(), chance }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_masters_that_are_killed_keep_every_promise() {
    let turn = turn().await;
    let Some(server) = Postgres::start() else { return };
    let url = server.database();
    let database = url.rsplit('/').next().expect("its name is the last part").to_owned();
    let mut masters = Masters::start(MASTERS, url, LEASE, Some(turn));
    masters.are_ready().await;
    let (seed, jobs) = (rand::random(), settings::masters_jobs());
    let mut world = build(server, masters, seed);
    for worker in &mut world.workers {
        worker.start();
    }

    let begun = Instant::now();
    let habits = Habits { script: Script::short, pause: 300, thought: 300 };
    let people = People::new(habits, Chance::of(seed, "people"), world.record.clone());
    let mut days = JoinSet::new();
    for number in 0..PEOPLE {
        let client = world.street.client(number as usize);
        days.spawn(people.clone().day(client, jobs.div_ceil(PEOPLE)));
    }
    let mut kills = 0;
    while kills < PER_CRASH || !days.is_empty() {
        world.strike(kills).await;
        kills += 1;
        while let Some(day) = days.try_join_next() {
            day.expect("people do not panic");
        }
    }
    world.heal().await;
    let observer = world.street.client(0);
    settle(&observer, &people, &world.record).await;
    // Counted first, because sending a stale write forgets its lease.
    let (leases, late) = world.street.zombie.seen();
    world.late_words().await;
    let took = begun.elapsed();

    let mut end = read_all(&observer, &world.record).await;
    for worker in &mut world.workers {
        if !worker.stop().await {
            end.left.get_or_insert_default().push(format!("{} did not stop", worker.name));
        }
    }
    end.fenced = Some(world.street.zombie.accounted());
    people.tell();
    world.tell();
    let tried = end.jobs.iter().filter(|end| end.attempts.len() > 1).count();
    let (history, _, _) = world.record.finish();
    let judgement = check(&history, &end, &limits());
    say(&format!(
        "{} jobs in {took:.0?}, {kills} masters killed, the server crashed {} times; {tried} jobs tried again, \
         {leases} leases, {late} late; {} events\n{judgement}",
        end.jobs.len(),
        kills / PER_CRASH,
        history.events.len(),
    ));
    if !judgement.violations.is_empty() {
        let path = std::env::temp_dir().join(format!("orchestra-masters-{seed}.jsonl"));
        history.save(&path).expect("the history can be kept");
        say(&format!("the history is in {}", path.display()));
    }
    judgement.assert_good(&Invariant::ALL);
    let miscounted = tokio::task::block_in_place(|| world.server.miscounted(&database));
    assert_eq!(miscounted, "", "the masters' counters differ from a count");
    world.masters.stop().await;
}
