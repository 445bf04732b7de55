//! The environment variables of the tests. No other module here reads the environment.

use std::{path::PathBuf, time::Duration};

use orchestra_contracts::{Size, Span};

/// Whether a lane that cannot run counts as a failure.
pub(crate) fn in_ci() -> bool {
    variable("CI").is_some_and(|value| value == "true" || value == "1")
}

/// How often tests that look for rare losses repeat: `ORCHESTRA_TEST_ROUNDS`, by default once.
pub fn rounds() -> u32 {
    let Some(text) = variable("ORCHESTRA_TEST_ROUNDS") else { return 1 };
    text.parse().expect("ORCHESTRA_TEST_ROUNDS is a number of rounds")
}

/// How many bytes a job writes to flood its log: `ORCHESTRA_FLOOD`, by default 1 GiB.
pub fn flood() -> u64 {
    let Some(text) = variable("ORCHESTRA_FLOOD") else { return 1 << 30 };
    text.parse::<Size>().expect("ORCHESTRA_FLOOD is a size like 512m").0
}

/// How long the soak injects faults (`ORCHESTRA_SOAK`, by default a minute), and its seed
/// (`ORCHESTRA_SEED`).
pub fn soak() -> (Duration, Option<u64>) {
    let time = variable("ORCHESTRA_SOAK").map_or(Duration::from_mins(1), |text| {
        text.parse::<Span>().expect("ORCHESTRA_SOAK is a time like 30m").0
    });
    let seed = variable("ORCHESTRA_SEED");
    (time, seed.map(|text| text.parse().expect("ORCHESTRA_SEED is a whole number")))
}

/// Whether tests that can run on either database use PostgreSQL instead of SQLite:
/// `ORCHESTRA_TEST_DATABASE=postgres`.
pub(crate) fn wants_postgres() -> bool {
    match variable("ORCHESTRA_TEST_DATABASE").as_deref() {
        None | Some("sqlite") => false,
        Some("postgres") => true,
        Some(other) => panic!("ORCHESTRA_TEST_DATABASE is {other:?}, neither sqlite nor postgres"),
    }
}

/// Names of the guards to mutate: `ORCHESTRA_GUARDS`, by default all.
pub fn guards() -> Option<Vec<String>> {
    let names = variable("ORCHESTRA_GUARDS")?;
    Some(names.split(',').map(str::to_owned).collect())
}

/// An older `orchestra` program to run beside this one: `ORCHESTRA_OLD`.
pub fn old_program() -> Option<PathBuf> {
    variable("ORCHESTRA_OLD").map(PathBuf::from)
}

/// The cargo that runs the tests, or else the first on the PATH.
pub(crate) fn cargo() -> String {
    variable("CARGO").unwrap_or_else(|| "cargo".to_owned())
}

/// Address of this machine's engine.
pub(crate) fn engine() -> String {
    variable("DOCKER_HOST").unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned())
}

fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "this is the harness's config.rs")]
    std::env::var(name).ok()
}
