//! A summary of a soak in a few lines.

use std::collections::BTreeMap;

use orchestra_tests::{
    chaos::{Kind, Zombie},
    check::{End, History, Phase, Piece, What, longest_overlap},
    say,
};

use crate::load::Load;

pub(crate) fn say_all(history: &History, end: &End, load: &Load, zombie: &Zombie) {
    let attempts: usize = end.jobs.iter().map(|job| job.attempts.len()).sum();
    let stored: u64 = end.jobs.iter().flat_map(|job| &job.attempts).map(|it| it.log_bytes).sum();
    let (mut answered, mut unknown, mut refused) = (0, 0, 0);
    let (mut stale, mut followed, mut readers, mut faults) = (0, 0, 0, BTreeMap::new());
    let (mut containers, mut busy) = (0, 0);
    for event in &history.events {
        match &event.what {
            What::Submitted { .. } => answered += 1,
            What::SubmitUnknown { .. } => unknown += 1,
            What::SubmitRefused { .. } => refused += 1,
            What::StaleWrite { .. } => stale += 1,
            What::ContainerStarted { .. } => containers += 1,
            What::ServerError { .. } => busy += 1,
            What::Fault { kind, .. } => *faults.entry(kind.as_str()).or_insert(0) += 1,
            What::Followed { log, .. } => {
                readers += 1;
                followed += log.iter().flat_map(|(_, log)| log).map(length).sum::<u64>();
            }
            _ => {}
        }
    }
    let total: usize = faults.values().sum();
    say(&format!(
        "jobs: {} ({answered} answered, {unknown} unknown, {refused} refused)",
        end.jobs.len()
    ));
    say(&format!("  by kind: {}", listed(load.kinds.iter().map(|(kind, n)| (name(*kind), *n)))));
    say(&format!("attempts: {attempts} in {containers} containers"));
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for attempt in end.jobs.iter().flat_map(|job| &job.attempts) {
        let outcome = attempt.outcome.as_ref().map_or("none".to_owned(), |it| format!("{it:?}"));
        let outcome = outcome.split(" { reason").next().unwrap_or_default().to_owned();
        *outcomes.entry(outcome).or_default() += 1;
    }
    say(&format!("  by end: {}", listed(outcomes)));
    say(&format!("faults: {total}"));
    say(&format!(
        "  by kind: {}",
        listed(faults.into_iter().map(|(kind, n)| (kind.to_owned(), n)))
    ));
    say(&format!("bytes compared: {stored} stored, {followed} seen by {readers} readers"));
    let (seen, left) = zombie.seen();
    say(&format!(
        "late writes sent: {stale}; leases that were seen: {seen}, {left} of them unsaid"
    ));
    say(&format!("answers 503: {busy}"));
    say(&format!("longest overlap of two attempts: {:?}", longest_overlap(history, end)));
    sizes(history);
}

/// First, last and highest sizes of each process that lived to the end.
fn sizes(history: &History) {
    let mut all: BTreeMap<&str, Vec<(Phase, u64, u64, f64)>> = BTreeMap::new();
    for event in &history.events {
        if let What::Measured { program, phase, memory, files, .. } = &event.what {
            let size = (*phase, *memory, *files, event.at.as_secs_f64());
            all.entry(program).or_default().push(size);
        }
    }
    for (program, sizes) in all {
        let (Some(first), Some(last)) = (sizes.first(), sizes.last()) else { continue };
        if last.0 != Phase::After {
            continue;
        }
        let most = sizes.iter().map(|size| size.1).max().unwrap_or_default();
        say(&format!(
            "{program}: {} to {} KiB (most {}), {} to {} files, in {:.0} s",
            first.1 / 1024,
            last.1 / 1024,
            most / 1024,
            first.2,
            last.2,
            last.3 - first.3,
        ));
    }
}

fn length(piece: &Piece) -> u64 {
    match piece {
        Piece::Bytes(_, bytes) => bytes.len() as u64,
        Piece::Gap(_) => 0,
    }
}

fn name(kind: Kind) -> String {
    format!("{kind:?}")
}

fn listed(counts: impl IntoIterator<Item = (String, usize)>) -> String {
    let counts: Vec<_> = counts.into_iter().map(|(name, n)| format!("{name} {n}")).collect();
    counts.join("; ")
}
