//! What the environment tells the tests. Nothing else here reads it.

use std::{path::PathBuf, time::Duration};

use orchestra_contracts::{Size, Span};

/// Whether a lane that cannot run is a failure.
pub(crate) fn in_ci() -> bool {
    variable("CI").is_some_and(|value| value == "true" || value == "1")
}

/// How often the tests that look for rare losses repeat themselves:
/// `ORCHESTRA_TEST_ROUNDS`, once unless told otherwise.
pub fn rounds() -> u32 {
    let Some(text) = variable("ORCHESTRA_TEST_ROUNDS") else { return 1 };
    text.parse().expect("ORCHESTRA_TEST_ROUNDS is a number of rounds")
}

/// How many bytes a job writes that floods its log: `ORCHESTRA_FLOOD`, 1 GiB
/// unless told otherwise.
pub fn flood() -> u64 {
    let Some(text) = variable("ORCHESTRA_FLOOD") else { return 1 << 30 };
    text.parse::<Size>().expect("ORCHESTRA_FLOOD is a size like 512m").0
}

/// How long the soak breaks things (`ORCHESTRA_SOAK`, a minute unless told
/// otherwise), and by which seed (`ORCHESTRA_SEED`).
pub fn soak() -> (Duration, Option<u64>) {
    let time = variable("ORCHESTRA_SOAK").map_or(Duration::from_mins(1), |text| {
        text.parse::<Span>().expect("ORCHESTRA_SOAK is a time like 30m").0
    });
    let seed = variable("ORCHESTRA_SEED");
    (time, seed.map(|text| text.parse().expect("ORCHESTRA_SEED is a whole number")))
}

/// Whether tests that may have either database take PostgreSQL, and not SQLite:
/// `ORCHESTRA_TEST_DATABASE=postgres`.
pub(crate) fn wants_postgres() -> bool {
    match variable("ORCHESTRA_TEST_DATABASE").as_deref() {
        None | Some("sqlite") => false,
        Some("postgres") => true,
        Some(other) => panic!("ORCHESTRA_TEST_DATABASE is {other:?}, neither sqlite nor postgres"),
    }
}

/// The guards that are to be taken out: `ORCHESTRA_GUARDS`, all unless told otherwise.
pub fn guards() -> Option<Vec<String>> {
    let names = variable("ORCHESTRA_GUARDS")?;
    Some(names.split(',').map(str::to_owned).collect())
}

/// An earlier `orchestra` program that is to work beside this one: `ORCHESTRA_OLD`.
pub fn old_program() -> Option<PathBuf> {
    variable("ORCHESTRA_OLD").map(PathBuf::from)
}

/// The cargo that runs the tests, else the first one on the path.
pub(crate) fn cargo() -> String {
    variable("CARGO").unwrap_or_else(|| "cargo".to_owned())
}

/// Where this machine's engine listens.
pub(crate) fn engine() -> String {
    variable("DOCKER_HOST").unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned())
}

fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "this is the harness's config.rs")]
    std::env::var(name).ok()
}
