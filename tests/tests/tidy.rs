//! Checks the dependencies between modules against ARCHITECTURE.md (Cargo already checks those
//! between crates), and the test names in docs/testing.md against the sources.

use std::{
    fs,
    path::{Path, PathBuf},
};

use orchestra_tests::check::Invariant;

/// Files under the path must not contain any of the words.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("contracts/src", &["tokio", "async fn", "std::fs", "std::net", "reqwest", "sqlx", "axum"]),
    (
        "master/src/domain",
        &["sqlx", "axum", "tokio", "async fn", "Timestamp::now", "crate::store", "crate::service"],
    ),
    ("master/src/store", &["axum", "crate::service", "crate::http", "crate::live", "StatusCode"]),
    (
        "master/src/courier",
        &["sqlx", "axum", "crate::store", "crate::service", "crate::live", "crate::http"],
    ),
    (
        "master/src/metrics",
        &["sqlx", "axum", "crate::store", "crate::service", "crate::live", "crate::http"],
    ),
    ("master/src/service", &["sqlx", "axum", "crate::http", "StatusCode"]),
    ("master/src/http", &["sqlx"]),
    ("client/src", &["sqlx", "axum::", "bollard"]),
    ("sandbox/src", &["tokio", "serde", "orchestra_contracts"]),
    ("cli/src", &["bollard", "sqlx", "axum"]),
];

/// Only files under the second path may contain the first string.
const KEPT_TO: &[(&str, &str, &[&str])] = &[
    ("bollard", "worker/src/executor/docker", &["worker/src"]),
    ("sqlx::", "master/src/store", &["master/src"]),
    ("rusqlite::", "master/src/store", &["master/src"]),
    // Outgoing requests of the master pass the check of allowed addresses.
    ("reqwest", "master/src/courier", &["master/src"]),
    ("prometheus::", "master/src/metrics", &["master/src"]),
    // Every route is registered together with its access rule.
    ("routing::", "master/src/http/access/routes.rs", &["master/src"]),
    (".route(", "master/src/http/access/routes.rs", &["master/src"]),
    (
        "unsafe ",
        "sandbox/src",
        &["contracts", "client", "master", "worker", "cli", "program", "tests/src"],
    ),
    ("Timestamp::now", "clock.rs", &["contracts/src", "client/src", "master/src", "worker/src"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate stands in the workspace")
        .to_owned()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
    {
        let path = entry.expect("a folder can be read to its end").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Lines of code under `folder`, without comments and tests, with their locations.
fn code_lines(folder: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    rust_files(&root().join(folder), &mut files);
    assert!(!files.is_empty(), "{folder} has no Rust files: the rule is out of date");
    let mut lines = Vec::new();
    for file in files {
        let name =
            file.strip_prefix(root()).expect("every file is below the root").display().to_string();
        let text = fs::read_to_string(&file).expect("sources are UTF-8");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in code.lines().enumerate() {
            if !line.trim_start().starts_with("//") {
                lines.push((format!("{name}:{}", number + 1), line.to_owned()));
            }
        }
    }
    lines
}

#[test]
fn rooms_see_only_what_they_may_see() {
    let mut wrong = Vec::new();
    for (folder, words) in FORBIDDEN {
        for (place, line) in code_lines(folder) {
            for word in *words {
                if line.contains(word) {
                    wrong.push(format!("{place} mentions {word}: {}", line.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_kept_to_one_room_stays_there() {
    let mut wrong = Vec::new();
    for (word, home, folders) in KEPT_TO {
        for (place, line) in folders.iter().flat_map(|folder| code_lines(folder)) {
            if line.contains(word) && !place.contains(home) {
                wrong.push(format!("{place} mentions {word}: {}", line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_says_what_it_is() {
    let folders = [
        "contracts/src",
        "client/src",
        "master/src",
        "worker/src",
        "sandbox/src",
        "cli/src",
        "tests/src",
        "simulation/src",
        "bench/src",
    ];
    let mut files = Vec::new();
    for folder in folders {
        rust_files(&root().join(folder), &mut files);
    }
    let silent: Vec<_> =
        files.iter().filter(|file| !fs::read_to_string(file).unwrap().starts_with("//!")).collect();
    assert!(silent.is_empty(), "these have no module comment: {silent:#?}");
}

/// Folders with tests, without copies of the sources.
const WITH_TESTS: &[&str] = &[
    "contracts",
    "client",
    "master",
    "worker",
    "sandbox",
    "program",
    "cli",
    "tests",
    "simulation",
    "bench",
];

const PAGE: &str = include_str!("../../docs/testing.md");
/// It says of each step of a runbook which test does it.
const OPERATIONS: &str = include_str!("../../docs/operations.md");

/// All inline code spans, without code blocks.
fn quoted(page: &str) -> Vec<&str> {
    let prose = page.split("```").step_by(2);
    prose.flat_map(|part| part.split('`').skip(1).step_by(2)).collect()
}

fn is_name(text: &str) -> bool {
    text.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_' | '/'))
}

/// Parses `file::test`.
fn test_name(quoted: &str) -> Option<(&str, &str)> {
    quoted.rsplit_once("::").filter(|(file, test)| is_name(file) && is_name(test))
}

/// Whether the source declares the test. rstest cases and store conformance cases are functions too.
fn declares(source: &str, test: &str) -> bool {
    source.contains(&format!("fn {test}("))
}

#[test]
fn every_test_that_the_pages_name_is_there() {
    let mut files = Vec::new();
    for folder in WITH_TESTS {
        rust_files(&root().join(folder), &mut files);
    }
    let sources: Vec<_> = files
        .into_iter()
        .map(|file| (fs::read_to_string(&file).expect("sources are UTF-8"), file))
        .collect();
    let pages = quoted(PAGE).into_iter().chain(quoted(OPERATIONS));
    let names: Vec<_> = pages.filter_map(test_name).collect();
    assert!(names.len() > 100, "only {} names were recognised", names.len());
    let mut wrong = Vec::new();
    for (file, test) in names {
        let ends = [format!("{file}.rs"), format!("{file}/main.rs")];
        let is_it = |path: &Path| ends.iter().any(|end| path.ends_with(end));
        let places =
            sources.iter().filter(|(source, path)| is_it(path) && declares(source, test)).count();
        if places != 1 {
            wrong.push(format!("{file}::{test} is in {places} files"));
        }
    }
    // The table of guards names tests without their files.
    let alone = |name: &&str| is_name(name) && name.matches('_').count() > 2;
    for test in quoted(PAGE).into_iter().filter(alone) {
        if !sources.iter().any(|(source, _)| declares(source, test)) {
            wrong.push(format!("there is no {test}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "docs/testing.md or docs/operations.md is out of date:\n{}",
        wrong.join("\n")
    );
}

/// The cells of the only row that starts with this name.
fn row(name: &str) -> Vec<&'static str> {
    let begin = format!("| {name} |");
    let mut rows = PAGE.lines().filter(|line| line.starts_with(&begin));
    let (row, other) = (rows.next(), rows.next());
    assert!(other.is_none(), "{name} has several rows in docs/testing.md");
    let row = row.unwrap_or_else(|| panic!("{name} has no row in docs/testing.md"));
    row.trim_matches('|').split('|').map(str::trim).collect()
}

#[test]
fn every_invariant_and_every_fault_has_its_row() {
    for invariant in Invariant::ALL {
        assert_eq!(row(&invariant.to_string())[1], invariant.sentence(), "{invariant}");
    }
    for number in 1..=70 {
        let name = format!("F{number:02}");
        let cells = row(&name);
        let [_, fault, tests, missing] = cells[..] else { panic!("{name}: {cells:?}") };
        assert!(!fault.is_empty(), "{name} names no fault");
        let covered = quoted(tests).into_iter().any(|name| test_name(name).is_some());
        assert!(covered || !missing.is_empty(), "{name} names no test and gives no reason");
    }
}
