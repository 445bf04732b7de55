//! Settings from the environment.

use std::str::FromStr;

/// `ORCHESTRA_SIM_SEED`: run only this seed, and print its trace.
pub fn one_seed() -> Option<u64> {
    read("ORCHESTRA_SIM_SEED")
}

/// `ORCHESTRA_SIM_SEEDS`: how many seeds to run; by default 1,000, or 40 in a debug build.
pub fn seeds() -> u64 {
    read("ORCHESTRA_SIM_SEEDS").unwrap_or(if cfg!(debug_assertions) { 40 } else { 1_000 })
}

/// `ORCHESTRA_SIM_FIRST`: the first seed.
pub fn first() -> u64 {
    read("ORCHESTRA_SIM_FIRST").unwrap_or_default()
}

/// `ORCHESTRA_MASTERS_JOBS`: how many jobs to run through several masters that are killed.
pub fn masters_jobs() -> u64 {
    read("ORCHESTRA_MASTERS_JOBS").unwrap_or(600)
}

/// `ORCHESTRA_HERD`: how many workers wait for a master that comes back.
pub fn herd() -> usize {
    read("ORCHESTRA_HERD").unwrap_or(200)
}

/// # Panics
/// When a value cannot be parsed: that is better than testing something else.
#[expect(clippy::disallowed_methods, reason = "the settings of the tests are read here alone")]
fn read<T: FromStr>(name: &str) -> Option<T> {
    let value = std::env::var(name).ok()?;
    let read = value.parse().ok();
    Some(read.unwrap_or_else(|| panic!("{name} is {value:?}, which is no number")))
}
