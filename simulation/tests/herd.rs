//! Kills a master under many waiting workers and restarts it. Measures how soon all of them wait
//! again, and checks that their requests are spread over time. The workers are real and use the
//! simulated engine.
//!
//! ```sh
//! ORCHESTRA_HERD=1000 cargo test --release -p orchestra-simulation --test herd -- --nocapture
//! ```

use std::{path::Path, sync::Arc, time::Duration};

use orchestra_contracts::JobSpec;
use orchestra_simulation::{
    balancer::Street, chance::Chance, engine::Engine, record::Record, settings, staff::Colleague,
};
use orchestra_tests::{
    free_port,
    program::{self, Program},
    say, turn, wait,
};
use tokio::time::{Instant, sleep, sleep_until};

/// Two outages: one is over before most workers notice, in the other all back-offs have grown.
const OUTAGES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(8)];
/// Of all requests after a restart, at most this many percent fall within the same tenth of a
/// second, plus a fixed number that a small herd needs.
const MOST: usize = 25;
const BESIDE: usize = 20;
const TENTH: Duration = Duration::from_millis(100);
/// Limit until all wait again: a back-off is five seconds at most, and a worker may need two.
const BACK: Duration = Duration::from_secs(30);

fn master(port: u16, data: &Path, log: &Path) -> Program {
    let mut command = program::command(["master"]);
    command
        .env("ORCHESTRA_LISTEN", format!("127.0.0.1:{port}"))
        .env("ORCHESTRA_DATA", data)
        .env("ORCHESTRA_LOG", "warn");
    Program::start("master", command, log.to_owned())
}

async fn all_wait(street: &Street, herd: usize) -> Instant {
    wait::until("all workers to wait", BACK, async || (street.waiting() >= herd).then(Instant::now))
        .await
}

/// Requests sent in the busiest tenth of a second since then, and requests sent in all.
fn busiest(departures: &[Instant], since: Instant) -> (usize, usize) {
    let mut tenths = std::collections::BTreeMap::<u128, usize>::new();
    for departure in departures.iter().filter(|departure| **departure >= since) {
        *tenths.entry((*departure - since).as_millis() / TENTH.as_millis()).or_default() += 1;
    }
    (tenths.values().max().copied().unwrap_or_default(), tenths.values().sum())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_herd_comes_back_to_its_master_without_a_stampede() {
    let _turn = turn().await;
    let herd = settings::herd();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (data, log, port) =
        (folder.path().join("data"), folder.path().join("master.log"), free_port());
    let mut program = master(port, &data, &log);
    let record = Arc::new(Record::new(Instant::now(), false));
    let street = Street::new(vec![port], record.clone());
    let engine = Engine::new(Chance::of(1, "engine"), record);
    let client = street.client(0);
    wait::until("the master", wait::START, async || client.healthy().await.ok()).await;
    let mut workers: Vec<_> =
        (0..herd).map(|number| Colleague::new(number, 1, &street, &engine)).collect();
    for worker in &mut workers {
        worker.start();
        sleep(Duration::from_millis(3)).await;
    }
    let _ = all_wait(&street, herd).await;

    for outage in OUTAGES {
        program.kill();
        let killed = Instant::now();
        drop(street.departures());
        sleep_until(killed + outage).await;
        let while_away = street.departures().len();
        program = master(port, &data, &log);
        let up = Instant::now();
        wait::until("the master", wait::START, async || client.healthy().await.ok()).await;
        let back = all_wait(&street, herd).await - up;
        // All workers are waiting, so a job reaches one of them at once.
        let submitted = Instant::now();
        let job = client.submit(&JobSpec::new("lines 0 every 1; exit 0")).await.expect("a job");
        let done = client.wait(job.id).await.expect("its end");
        let through = submitted.elapsed();
        let (most, all) = busiest(&street.departures(), up);
        say(&format!(
            "{herd} workers, {:.1?} without a master: {while_away} requests meanwhile; all wait again after \
             {back:.1?}, {all} requests, {most} in the busiest tenth of a second; a job in {through:.1?}; \
             the master holds {} MiB",
            up - killed,
            program.memory().now >> 20,
        ));
        assert!(done.status.is_final(), "{done:?}");
        assert!(
            most <= all * MOST / 100 + BESIDE,
            "{most} of {all} requests came within a tenth of a second"
        );
    }
    for worker in &mut workers {
        worker.kill();
    }
    program.terminate().await;
}
