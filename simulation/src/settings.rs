//! What the environment asks for.

use std::str::FromStr;

/// `ORCHESTRA_SIM_SEED`: this one seed, with all that happened printed.
pub fn one_seed() -> Option<u64> {
    read("ORCHESTRA_SIM_SEED")
}

/// `ORCHESTRA_SIM_SEEDS`: so many seeds. 1,000 unless it is a debug build.
pub fn seeds() -> u64 {
    read("ORCHESTRA_SIM_SEEDS").unwrap_or(if cfg!(debug_assertions) { 40 } else { 1_000 })
}

/// `ORCHESTRA_SIM_FIRST`: the first of them.
pub fn first() -> u64 {
    read("ORCHESTRA_SIM_FIRST").unwrap_or_default()
}

/// `ORCHESTRA_MASTERS_JOBS`: how many jobs go through several masters that are killed.
pub fn masters_jobs() -> u64 {
    read("ORCHESTRA_MASTERS_JOBS").unwrap_or(600)
}

/// `ORCHESTRA_HERD`: how many workers a master that comes back finds.
pub fn herd() -> usize {
    read("ORCHESTRA_HERD").unwrap_or(200)
}

/// # Panics
/// When there is something that cannot be read: better than to test something else.
#[expect(clippy::disallowed_methods, reason = "the settings of the tests are read here alone")]
fn read<T: FromStr>(name: &str) -> Option<T> {
    let value = std::env::var(name).ok()?;
    let read = value.parse().ok();
    Some(read.unwrap_or_else(|| panic!("{name} is {value:?}, which is no number")))
}
