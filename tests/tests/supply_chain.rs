//! Checks licences, sources and banned crates of all dependencies against deny.toml, using only
//! `cargo metadata`. `cargo deny` checks more, advisories included, but takes a quarter of an hour to
//! build, so it runs only where it is installed.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate stands in the workspace")
}

/// Every crate that any of our programs or tests depends on.
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--all-features"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root())
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let packages = metadata["packages"].as_array().expect("it lists packages").clone();
    assert!(packages.len() > 100, "only {} packages", packages.len());
    packages
}

/// The strings and inline tables of a list in deny.toml, as written there.
fn list(name: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("deny.toml")).expect("there is a deny.toml");
    let begin = format!("\n{name} = [\n");
    let (_, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("deny.toml has no {name}"));
    let (inside, _) = rest.split_once("\n]").expect("the list ends");
    let lines = inside.lines().map(|line| line.trim().trim_end_matches(','));
    lines.filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

fn text<'a>(package: &'a Value, field: &str) -> &'a str {
    package[field].as_str().unwrap_or_default()
}

/// Whether an SPDX expression is allowed
/// (<https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/>). A slash is the old form of OR.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<_> = spaced.split_whitespace().collect();
    let mut at = 0;
    either(&words, &mut at, allowed) && at == words.len()
}

fn either(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut fits = both(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        fits |= both(words, at, allowed);
    }
    fits
}

fn both(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut fits = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        fits &= one(words, at, allowed);
    }
    fits
}

fn one(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let fits = either(words, at, allowed);
        *at += 1;
        return fits;
    }
    // A licence with an exception is looked up as a licence of its own.
    if words.get(*at) == Some(&"WITH") {
        let exception = words.get(*at + 1).copied().unwrap_or_default();
        *at += 2;
        return allowed.contains(&format!("{word} WITH {exception}"));
    }
    allowed.contains(*word)
}

#[test]
fn every_licence_is_one_that_deny_toml_allows() {
    let allowed: BTreeSet<_> =
        list("allow").iter().map(|name| name.trim_matches('"').to_owned()).collect();
    let of = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    assert!(is_allowed("MIT OR (GPL-3.0 AND Zlib)", &of(&["MIT"])));
    assert!(!is_allowed("MIT AND GPL-3.0", &of(&["MIT"])));
    assert!(!is_allowed("Apache-2.0 WITH LLVM-exception", &of(&["Apache-2.0"])));
    let wrong: Vec<_> = packages()
        .iter()
        .filter(|package| !is_allowed(text(package, "license"), &allowed))
        .map(|package| format!("{}: {:?}", text(package, "name"), text(package, "license")))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn everything_comes_from_the_one_registry_or_from_here() {
    let sources: BTreeSet<_> =
        packages().iter().map(|package| text(package, "source").to_owned()).collect();
    assert_eq!(sources.len(), 2, "{sources:?}");
    assert!(sources.iter().all(|source| source.is_empty() || source.starts_with("registry+")));
}

/// `1.2.3` as numbers. A suffix after a dash or plus is ignored.
fn version(text: &str) -> Vec<u64> {
    let number = text.split(['-', '+']).next().unwrap_or_default();
    number.split('.').map(|part| part.parse().expect("a version has numbers")).collect()
}

#[test]
fn no_crate_is_here_that_deny_toml_bans() {
    let packages = packages();
    let bans = list("deny");
    assert!(bans.len() > 10, "{bans:?}");
    let mut wrong = Vec::new();
    for ban in &bans {
        let name = ban.split('"').nth(1).unwrap_or_else(|| panic!("{ban} names a crate"));
        let (name, below) = name.split_once("@<").unwrap_or((name, ""));
        let here: Vec<_> =
            packages.iter().filter(|package| text(package, "name") == name).collect();
        let versions: Vec<_> = here.iter().map(|package| text(package, "version")).collect();
        let is_wrong = if ban.contains("deny-multiple-versions") {
            versions.len() > 1
        } else if below.is_empty() {
            !versions.is_empty()
        } else {
            versions.iter().any(|it| version(it) < version(below))
        };
        if is_wrong {
            wrong.push(format!("{versions:?} of {ban}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
