//! Runs seeds: first those that once failed, then as many as requested. A failure prints how to
//! repeat it.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use orchestra_simulation::{
    run::{Outcome, run},
    settings,
};
use orchestra_tests::{check::Invariant, say};

const CORPUS: &str = include_str!("../corpus.txt");

/// Every invariant but memory (I8), which the tests with real processes check.
const JUDGED: [Invariant; 11] = [
    Invariant::I1,
    Invariant::I2,
    Invariant::I3,
    Invariant::I4,
    Invariant::I5,
    Invariant::I6,
    Invariant::I7,
    Invariant::I9,
    Invariant::I10,
    Invariant::I11,
    Invariant::I12,
];

fn corpus() -> Vec<u64> {
    let seed = |line: &str| line.split_whitespace().next().map(|seed| seed.parse().expect(line));
    CORPUS.lines().filter(|line| !line.starts_with('#')).filter_map(seed).collect()
}

/// Runs the seeds on all cores. After a few failures no more are started.
fn run_all(seeds: &[u64]) -> Vec<Outcome> {
    const ENOUGH: u64 = 3;
    const WHOLE: &str = "whoever pushes does not panic";
    let (next, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let outcomes = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while failed.load(Ordering::Relaxed) < ENOUGH
                    && let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize)
                {
                    let outcome = run(*seed, false);
                    failed.fetch_add(u64::from(is_bad(&outcome)), Ordering::Relaxed);
                    outcomes.lock().expect(WHOLE).push(outcome);
                }
            });
        }
    });
    outcomes.into_inner().expect(WHOLE)
}

fn is_bad(outcome: &Outcome) -> bool {
    !outcome.judgement.violations.is_empty()
}

fn assert_good(outcomes: &[Outcome]) {
    let mut report = String::new();
    for Outcome { seed, judgement, .. } in outcomes.iter().filter(|outcome| is_bad(outcome)) {
        let again = format!(
            "ORCHESTRA_SIM_SEED={seed} cargo test --release -p orchestra-simulation --test seeds -- --nocapture one_seed"
        );
        write!(report, "\nseed {seed}; again, with all that happened: {again}\n{judgement}")
            .expect("writing to a string does not fail");
    }
    assert!(report.is_empty(), "{report}");
}

#[test]
fn seeds_that_failed_once_hold() {
    assert_good(&run_all(&corpus()));
}

#[test]
fn seeds_hold() {
    let began = Instant::now();
    let first = settings::first();
    let seeds: Vec<u64> = (first..first + settings::seeds()).collect();
    let outcomes = run_all(&seeds);
    assert_good(&outcomes);

    let mut judged: BTreeMap<Invariant, u64> = BTreeMap::new();
    for (invariant, outcome) in JUDGED.iter().flat_map(|it| outcomes.iter().map(move |o| (it, o))) {
        *judged.entry(*invariant).or_default() += outcome.judgement.judged(*invariant);
    }
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    say(&format!(
        "{} seeds from {first}: {} jobs, {} faults, {} logs and {} claims along with ends, {} s of virtual time in {:.1} s; judged: {judged:?}",
        outcomes.len(),
        sum(|outcome| outcome.jobs as u64),
        sum(|outcome| outcome.faults),
        sum(|outcome| outcome.along.rests),
        sum(|outcome| outcome.along.claims),
        sum(|outcome| outcome.took.as_secs()),
        began.elapsed().as_secs_f64(),
    ));
    for along in [|it: &Outcome| it.along.rests, |it: &Outcome| it.along.claims] {
        assert!(sum(along) > 0, "no report of an end carried anything else");
    }
    for (invariant, things) in judged {
        assert!(things > 0, "no seed gave anything to judge {invariant} by");
    }
}

#[test]
fn the_same_seed_does_the_same() {
    let seeds: Vec<u64> = (0..6).collect();
    let trace = |outcomes: Vec<Outcome>| -> BTreeMap<u64, u64> {
        outcomes.into_iter().map(|outcome| (outcome.seed, outcome.trace)).collect()
    };
    let backwards: Vec<u64> = seeds.iter().rev().copied().collect();
    let (one, two) = (trace(run_all(&seeds)), trace(run_all(&backwards)));
    assert_eq!(one, two);
    let different: std::collections::BTreeSet<u64> = one.values().copied().collect();
    assert_eq!(different.len(), seeds.len(), "other seeds give other traces");
}

/// For the command that a failure prints; without the variable it does nothing.
#[test]
fn one_seed() {
    let Some(seed) = settings::one_seed() else { return };
    let outcome = run(seed, true);
    for line in &outcome.lines {
        println!("{line}");
    }
    println!("{}", outcome.judgement);
    assert_good(&[outcome]);
}
