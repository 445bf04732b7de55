//! What is published about the metrics is right: the text, the settings, alerts, dashboard and manual.

use std::{
    collections::BTreeSet,
    io::Write,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use super::{end, read, register};
use crate::{faulty::Plan, harness::Master};

/// The metrics of a master on which everything has happened once.
async fn full() -> String {
    let master = Master::start().await;
    register(&master, "w").await;
    let claimed = master.running(json!({"command": "true"})).await;
    let usage = json!({"cpuMs": 1, "peakMemory": 0, "wallMs": 1, "imageMs": 1, "startMs": 1});
    end(&master, &claimed, json!({"status": "Failed", "exitCode": 1, "usage": usage})).await;
    let stats = json!({
        "engine": {"answer": {"count": 1, "failed": 0, "totalMs": 1}},
        "pool": {"ready": 1, "hits": 1, "misses": 1},
    });
    master.post("/api/worker/w/heartbeat", json!({"leases": [], "stats": stats})).await;
    master.faults.plan(Plan::Writes);
    assert_eq!(master.post("/api/job", json!({"command": "true"})).await.status, 503);
    master.faults.plan(Plan::Nothing);
    master.submit(json!({"command": "true"})).await;
    master.get("/metrics").await.text()
}

/// A file of `deploy/monitoring`.
fn given(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/monitoring").join(name)
}

#[tokio::test]
async fn promtool_finds_nothing_wrong() {
    let text = full().await;
    let Some(said) = promtool(&["check", "metrics"], &text) else { return };
    assert_eq!(said, "", "{text}");
}

#[test]
fn promtool_takes_the_settings_and_the_alerts_and_they_fire_when_they_should() {
    for (arguments, file, good) in [
        (&["check", "config"][..], "prometheus.yml", "SUCCESS"),
        (&["check", "rules"], "alerts.yml", "SUCCESS"),
        (&["test", "rules"], "alerts.test.yml", "SUCCESS"),
    ] {
        let file = given(file).display().to_string();
        let Some(said) = promtool(&[arguments, &[&file]].concat(), "") else { return };
        assert!(said.contains(good) && !said.contains("FAILED"), "{arguments:?}: {said}");
    }
}

/// An unknown name would make an empty panel, or an alert that never fires.
#[tokio::test]
async fn the_dashboard_and_the_alerts_ask_for_what_there_is() {
    let known = names(&full().await);
    let mut asked = BTreeSet::new();
    for file in ["dashboard.json", "alerts.yml"] {
        let text = std::fs::read_to_string(given(file)).unwrap();
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let ours = ["orchestra_", "process_"];
        let words = words.filter(|word| ours.iter().any(|it| word.starts_with(it)));
        asked.extend(words.map(str::to_owned));
    }
    let missing: Vec<_> = asked.difference(&known).collect();
    assert!(missing.is_empty() && asked.len() > 20, "{missing:?} of {asked:?}");
    let dashboard = std::fs::read_to_string(given("dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let titles: BTreeSet<_> = panels.iter().map(|panel| panel["title"].as_str().unwrap()).collect();
    assert_eq!(titles.len(), panels.len(), "each panel has a title of its own");
}

/// The manual explains every metric, and no others.
#[tokio::test]
async fn the_manual_lists_every_metric() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows = page.lines().filter(|line| {
        ["orchestra_", "process_"].iter().any(|it| line.starts_with(&format!("| `{it}")))
    });
    let listed =
        rows.flat_map(|row| row.split(" | ").next().unwrap().split('`').skip(1).step_by(2));
    let listed: BTreeSet<_> =
        listed.map(|name| name.split('{').next().unwrap().to_owned()).collect();
    let base = |name: &String| {
        let parts = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        parts.unwrap_or(name).to_owned()
    };
    let known: BTreeSet<_> = names(&full().await).iter().map(base).collect();
    assert_eq!(listed, known);
}

/// Output of promtool for this input, where it is installed. Under CI it must be.
fn promtool(arguments: &[&str], input: &str) -> Option<String> {
    let started = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut program) = started else {
        assert!(
            std::env::var_os("CI").is_none(),
            "promtool is not installed (apt install prometheus)"
        );
        eprintln!("skipped: promtool is not installed");
        return None;
    };
    program.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = program.wait_with_output().unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    if !output.status.success() {
        assert!(!said.is_empty(), "it fails without a word");
    }
    Some(said)
}

/// All metric names as Prometheus sees them.
fn names(text: &str) -> BTreeSet<String> {
    read(text).into_keys().map(|name| name.split('{').next().unwrap().to_owned()).collect()
}
