//! Mutation tests of our guards: without any of them, a named test must fail.
//!
//! ```sh
//! cargo test -p orchestra-tests --test guards -- --ignored --nocapture
//! ```
//! This removes one guard after another from a copy of the sources. It is not part of the usual run,
//! because it rebuilds the programs each time. `ORCHESTRA_GUARDS` selects guards by name, separated by
//! commas. The usual run checks that every guard is where [`table`] says.

mod table;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use orchestra_tests::{guards, program, repository, say};

use crate::table::{GUARDS, Guard};

#[test]
fn every_guard_stands_where_the_table_says() {
    let mut wrong = Vec::new();
    for guard in GUARDS {
        let text = fs::read_to_string(repository().join(guard.file)).unwrap_or_default();
        let found = text.matches(guard.with).count();
        if found != 1 {
            wrong.push(format!("{}: found {found} times in {}", guard.name, guard.file));
        }
        if !sources_have(&format!("fn {}(", guard.test)) {
            wrong.push(format!("{}: there is no test {}", guard.name, guard.test));
        }
    }
    assert!(wrong.is_empty(), "tests/tests/guards/table.rs is out of date:\n{}", wrong.join("\n"));
}

fn sources_have(text: &str) -> bool {
    let sources =
        tracked_files().into_iter().filter(|file| file.extension().is_some_and(|end| end == "rs"));
    sources
        .map(|file| repository().join(file))
        .any(|file| fs::read_to_string(file).is_ok_and(|source| source.contains(text)))
}

#[test]
#[ignore = "builds the programs once a guard, some ten minutes"]
fn without_any_guard_a_test_turns_red() {
    let copy = program::target_folder().join("guards");
    copy_sources(&copy);
    // All passing runs come first, so nothing is rebuilt between them.
    let green: Vec<_> = asked_for().map(|guard| (guard, run(&copy, guard))).collect();
    let mut survivors = Vec::new();
    say("| guard | what it holds | test | with it | without it | s |");
    say("|---|---|---|---|---|---|");
    for (guard, green) in green {
        let start = Instant::now();
        let red = run_without(&copy, guard);
        let seconds = start.elapsed().as_secs();
        let Guard { name, sentence, test, .. } = guard;
        say(&format!("| `{name}` | {sentence} | `{test}` | {green:?} | {red:?} | {seconds} |"));
        if green != Colour::Green || red != Colour::Red {
            survivors.push(*name);
        }
    }
    fs::remove_dir_all(&copy).expect("the copy can be removed");
    assert!(survivors.is_empty(), "no test fails without {survivors:?}");
}

/// All guards, or those that `ORCHESTRA_GUARDS` names.
fn asked_for() -> impl Iterator<Item = &'static Guard> {
    let names = guards();
    for name in names.iter().flatten() {
        assert!(GUARDS.iter().any(|guard| guard.name == name), "there is no guard {name}");
    }
    let is_asked_for = move |guard: &&Guard| {
        names.as_ref().is_none_or(|names| names.iter().any(|name| name == guard.name))
    };
    GUARDS.iter().filter(is_asked_for)
}

fn run_without(copy: &Path, guard: &Guard) -> Colour {
    let file = copy.join(guard.file);
    let text = fs::read_to_string(&file).expect("it was copied");
    fs::write(&file, text.replacen(guard.with, guard.without, 1)).expect("a writable copy");
    let colour = run(copy, guard);
    fs::write(&file, text).expect("a writable copy");
    colour
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Colour {
    Green,
    Red,
    /// The build failed, or the test does not exist.
    NotRun,
}

fn run(copy: &Path, guard: &Guard) -> Colour {
    let output = program::cargo()
        .args(["test", "--quiet"])
        .args(guard.target)
        .args(["--", guard.test])
        .env("CARGO_TARGET_DIR", program::target_folder())
        .current_dir(copy)
        .output()
        .expect("cargo can be started");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let passed = stdout.lines().any(|line| passed_in(line) > 0);
    match (stdout.contains("test result: FAILED"), passed && output.status.success()) {
        (true, _) => Colour::Red,
        (false, true) => Colour::Green,
        (false, false) => {
            say(&String::from_utf8_lossy(&output.stderr));
            Colour::NotRun
        }
    }
}

/// Parses a line like `test result: ok. 3 passed; 0 failed; ...`.
fn passed_in(line: &str) -> u32 {
    let words: Vec<_> = line.split_whitespace().collect();
    let number = words.windows(2).find(|two| two[1] == "passed;").map(|two| two[0]);
    number.and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn tracked_files() -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(repository())
        .output()
        .expect("git is installed");
    let names = String::from_utf8(output.stdout).expect("our file names are UTF-8");
    names.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect()
}

/// Writes only files that differ, so that a second run rebuilds less.
fn copy_sources(copy: &Path) {
    for file in tracked_files() {
        let (from, to) = (repository().join(&file), copy.join(&file));
        let Ok(content) = fs::read(&from) else { continue };
        if fs::read(&to).is_ok_and(|there| there == content) {
            continue;
        }
        fs::create_dir_all(to.parent().expect("the file is in the copy"))
            .expect("a writable folder");
        fs::write(&to, content).expect("a writable folder");
    }
}
