//! The soak: runs mixed jobs on two workers while a seeded sequence of faults is injected and healed,
//! then judges the history by I1 to I12.
//!
//! ```sh
//! ORCHESTRA_SOAK=30m cargo test --release -p orchestra-tests --test soak -- --nocapture
//! ```
//! It takes a minute by default. `ORCHESTRA_SEED` repeats the jobs and faults of a run.

mod ending;
mod figures;
mod load;

use std::time::Duration;

use orchestra_tests::{
    Plan, Proxy,
    chaos::{Nemesis, Recorder, Zombie, containers},
    check::{Invariant, Limits, Phase, What, check},
    say, soak,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::load::Load;

const LEASE: Duration = Duration::from_secs(8);
/// How many jobs run after the faults, twice. Nothing may grow during the second round.
const CALM: usize = 40;
/// The master closes a client's connection after ten idle seconds.
const IDLE_CONNECTIONS: Duration = Duration::from_secs(12);

fn limits() -> Limits {
    Limits {
        // The engine reports a container's end only after cleaning up. The worker knows earlier,
        // so the next attempt may start meanwhile.
        overlap: Duration::from_secs(2),
        outlive: Duration::from_secs(3),
        settle: Duration::from_mins(4),
        ..Limits::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_whatever_breaks() {
    let (time, seed) = soak();
    let seed = seed.unwrap_or_else(rand::random);
    let plan = Plan::default()
        .workers(2)
        .slots(3)
        .proxied()
        .setting("ORCHESTRA_LEASE", "8s")
        .setting("ORCHESTRA_GRACE", "2s")
        .setting("ORCHESTRA_RETRY_BACKOFF", "200ms")
        .setting("ORCHESTRA_MAX_RETRY_BACKOFF", "2s");
    let Some(mut stack) = plan.start().await else { return };
    say(&format!("soak of {time:?}: ORCHESTRA_SEED={seed}"));

    let recorder = Recorder::default();
    let mut watching = JoinSet::new();
    watching.spawn(containers::watch(recorder.clone(), stack.names().to_vec()));
    let zombie = Zombie::default();
    for worker in &stack.workers {
        worker.link.as_ref().expect("it is proxied").tap(zombie.tap(&worker.name));
    }
    let clients = Proxy::before(stack.address()).await;
    let mut nemesis = Nemesis::new(seed, LEASE, recorder.clone());
    let mut load = Load::new(seed, &clients, recorder.clone());

    let end = Instant::now() + time;
    let mut submitting = JoinSet::new();
    submitting.spawn(load.run_until(end));
    while Instant::now() < end {
        nemesis.strike(&mut stack, &clients).await;
        zombie.speak(&stack.api.url(""), &recorder).await;
    }
    stack.workers_are_online().await;
    recorder.record(What::Healed);
    load = submitting.join_next().await.expect("there is one").expect("it does not panic");
    let unfinished = load.finish(Instant::now() + limits().settle).await;
    if unfinished > 0 {
        say(&format!("{unfinished} jobs have not ended"));
    }

    // Two rounds: what is opened once and kept, such as the store's read connections, is not growth.
    for phase in [Phase::Before, Phase::After] {
        load.calm(CALM).await;
        ending::at_rest(&stack).await;
        sleep(IDLE_CONNECTIONS).await;
        nemesis.measure_in(&mut stack, phase);
    }
    zombie.speak(&stack.api.url(""), &recorder).await;
    watching.shutdown().await;

    let end = ending::collect(&mut stack, &load, &zombie, &recorder).await;
    let history = recorder.history();
    let judgement = check(&history, &end, &limits());
    figures::say_all(&history, &end, &load, &zombie);
    say(&judgement.to_string());
    if !judgement.violations.is_empty() {
        let path = std::env::temp_dir().join(format!("orchestra-soak-{seed}.jsonl"));
        history.save(&path).expect("the history can be kept");
        say(&format!("the history is in {}", path.display()));
        ending::keep_logs(&mut stack, &path);
    }
    judgement.assert_good(&Invariant::ALL);
    stack.stop().await;
}
