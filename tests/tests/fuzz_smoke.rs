//! A few seconds of what `fuzz/` does without limit: runs its corpus, and random mutations of each
//! entry, with fixed seeds.

#![expect(clippy::unwrap_used, reason = "this is a test; the lint knows only its test functions")]

use std::{fs, path::Path};

use rand::{RngExt, SeedableRng, rngs::SmallRng};

#[path = "../../fuzz/properties.rs"]
mod properties;

/// Mutated inputs for each target.
const ROUNDS: u64 = 100_000;
/// Boundary values at which something may overflow, and bytes with a meaning.
const TELLING: [&[u8]; 12] = [
    &[0],
    &[0xff; 4],
    &[0xff; 8],
    &[0, 0, 1, 0],
    &[0, 0, 0x40, 0],
    &[0x7f],
    &[0x80],
    b"\n",
    b"\"",
    b"{",
    b"[",
    b"1e400",
];

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut files: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 5, "{} has too few entries", folder.display());
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn changed(random: &mut SmallRng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = corpus[random.random_range(0..corpus.len())].clone();
    for _ in 0..random.random_range(1..5) {
        let at = random.random_range(0..=bytes.len());
        match random.random_range(0..5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes.truncate(at),
            2 => {
                let telling = TELLING[random.random_range(0..TELLING.len())];
                bytes.splice(at..at, telling.iter().copied());
            }
            3 => {
                let other = &corpus[random.random_range(0..corpus.len())];
                let from = random.random_range(0..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {
                let end = (at + random.random_range(0..8)).min(bytes.len());
                bytes.drain(at..end);
            }
        }
    }
    bytes
}

fn smoke(target: &str, property: fn(&[u8])) {
    let corpus = corpus(target);
    for bytes in &corpus {
        property(bytes);
    }
    let mut random = SmallRng::seed_from_u64(1);
    for round in 0..ROUNDS {
        let bytes = changed(&mut random, &corpus);
        let outcome = std::panic::catch_unwind(|| property(&bytes));
        assert!(outcome.is_ok(), "{target}, round {round}: {:?}", bytes.escape_ascii().to_string());
    }
}

#[test]
fn frames_of_the_sandbox() {
    smoke("sandbox_frames", properties::sandbox_frames);
}

#[test]
fn uploads_of_logs() {
    smoke("log_upload", properties::log_upload);
}

#[test]
fn bodies_of_requests() {
    smoke("job_spec", properties::job_spec);
}
