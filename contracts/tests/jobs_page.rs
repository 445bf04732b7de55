//! docs/jobs.md matches the code: every field, its default, its limits.

#![expect(clippy::unwrap_used, reason = "this is a test; the lint knows only its test functions")]

use std::collections::{BTreeMap, BTreeSet};

use orchestra_contracts::{
    JobFile, JobId, JobRef, JobSpec, Network, Resources, Retry, RetryOn, Secret, Size, Span,
    Workspace, limits,
};
use serde_json::Value;

const PAGE: &str = include_str!("../../docs/jobs.md");

/// Default and limits of each field, as they are in the table.
fn table() -> BTreeMap<String, (String, String)> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| `"));
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split(" |").map(str::trim).collect();
        let [field, _, default, bounds] = cells[..] else { panic!("{line}") };
        (field.trim_matches('`').to_owned(), (default.to_owned(), bounds.to_owned()))
    };
    rows.map(row).collect()
}

/// A spec in which no field has its default. A new field does not compile until it is added here.
fn everything() -> JobSpec {
    let text = || [("a".to_owned(), "b".to_owned())].into();
    JobSpec {
        command: "true".into(),
        max_retries: 1,
        name: Some("n".into()),
        image: Some("i".into()),
        env: text(),
        secrets: [("S".to_owned(), Secret::new("12345678"))].into(),
        timeout: Some(Span::from_secs(1)),
        lease: Some(Span::from_secs(1)),
        retry: Retry {
            backoff: Some(Span::from_secs(1)),
            on_lost: false,
            on: Some(vec![RetryOn::TimedOut]),
        },
        max_log: Some(Size(1)),
        priority: 1,
        queue: "q".into(),
        not_before: Some(jiff::Timestamp::UNIX_EPOCH),
        delay: Some(Span::from_secs(1)),
        after: vec![JobRef::Id(JobId(1))],
        after_any: vec![JobRef::Id(JobId(2))],
        after_failed: vec![JobRef::Name("n".into())],
        array: "1-2".parse().ok(),
        labels: text(),
        requires: text(),
        resources: Resources {
            cpus: Some(1.0),
            memory: Some(Size(1)),
            pids: Some(1),
            tmp: Some(Size(1)),
        },
        network: Network::Bridge,
        workspace: Workspace::Private,
        stdin: Some("s".into()),
        files: vec![JobFile::of_text("f", "")],
        artifacts: vec!["*".into()],
    }
}

/// The names of the spec's fields; those of `resources` and `retry` with a dot.
fn names(spec: &JobSpec) -> BTreeMap<String, Value> {
    let Value::Object(fields) = serde_json::to_value(spec).unwrap() else { panic!("an object") };
    let mut names = BTreeMap::new();
    for (name, value) in fields {
        match value {
            Value::Object(inner) if name == "resources" || name == "retry" => {
                names.extend(
                    inner.into_iter().map(|(field, value)| (format!("{name}.{field}"), value)),
                );
            }
            value => drop(names.insert(name, value)),
        }
    }
    names
}

#[test]
fn every_field_has_its_row_and_every_row_its_field() {
    let rows: BTreeSet<String> = table().into_keys().collect();
    assert_eq!(rows, names(&everything()).into_keys().collect());
}

#[test]
fn the_defaults_are_those_of_the_code() {
    let table = table();
    let explicit = serde_json::json!({"command": "x", "maxRetries": 0, "priority": 0,
        "queue": "default", "network": "none", "workspace": "shared", "retry": {"onLost": true}});
    let explicit: JobSpec = serde_json::from_value(explicit).unwrap();
    assert_eq!(explicit, JobSpec::new("x"));
    for (field, default) in [
        ("maxRetries", "`0`"),
        ("priority", "`0`"),
        ("queue", "`\"default\"`"),
        ("network", "`\"none\"`"),
        ("workspace", "`\"shared\"`"),
        ("retry.onLost", "`true`"),
    ] {
        assert_eq!(table[field].0, default, "{field}");
    }
}

#[test]
fn the_bounds_are_those_of_the_code() {
    let table = table();
    let bounds: Vec<(&str, Vec<String>)> = vec![
        ("command", vec![limits::COMMAND_BYTES.to_string()]),
        ("maxRetries", vec![limits::MAX_RETRIES.to_string()]),
        ("name", vec![limits::NAME_CHARS.to_string()]),
        (
            "env",
            [limits::ENV_ENTRIES, limits::ENV_VALUE_BYTES, limits::ENV_BYTES]
                .map(|it| it.to_string())
                .into(),
        ),
        (
            "secrets",
            [
                limits::SECRETS,
                limits::SECRET_BYTES_MIN,
                limits::SECRET_BYTES,
                limits::SECRETS_BYTES,
            ]
            .map(|it| it.to_string())
            .into(),
        ),
        (
            "priority",
            [limits::PRIORITY.start(), limits::PRIORITY.end()].map(ToString::to_string).into(),
        ),
        ("delay", vec![limits::DELAY.to_string()]),
        ("after", vec![limits::AFTER.to_string()]),
        ("array", vec![limits::JOBS.to_string(), limits::ARRAY_INDEX.to_string()]),
        ("labels", vec![limits::LABELS.to_string()]),
        ("resources.cpus", [limits::CPUS_MIN, limits::CPUS_MAX].map(|it| it.to_string()).into()),
        ("resources.memory", vec![Size(limits::MEMORY_MIN).to_string()]),
        (
            "resources.pids",
            [limits::PIDS.start(), limits::PIDS.end()].map(ToString::to_string).into(),
        ),
        ("resources.tmp", vec![Size(limits::TMP_MIN).to_string()]),
        ("maxLog", vec![Size(limits::MAX_LOG_MIN).to_string()]),
        ("retry.on", RetryOn::ALL.map(|it| it.as_str().to_owned()).into()),
        ("stdin", vec![limits::STDIN_BYTES.to_string()]),
        ("files", [limits::FILES, limits::FILES_BYTES].map(|it| it.to_string()).into()),
        (
            "artifacts",
            [limits::ARTIFACT_PATTERNS, limits::ARTIFACTS].map(|it| it.to_string()).into(),
        ),
    ];
    for (field, figures) in bounds {
        let (_, said) = &table[field];
        let words: Vec<&str> =
            said.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))).collect();
        for figure in figures {
            assert!(words.contains(&figure.as_str()), "{field}: {figure} is not in {said:?}");
        }
    }
}

/// The schema for editors is the schema of the API.
#[test]
fn the_schema_is_that_of_the_api() {
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let schema = read(include_str!("../../docs/job.schema.json"));
    let api = read(include_str!("../openapi.json"));
    assert_eq!(schema["$defs"]["JobSpec"], api["components"]["schemas"]["JobSpec"]);
    let described: BTreeSet<String> = api["components"]["schemas"]["JobSpec"]["properties"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    let mut fields: BTreeSet<String> = names(&everything())
        .into_keys()
        .map(|name| name.split('.').next().unwrap().to_owned())
        .collect();
    // The alias of `after`.
    fields.insert("afterOk".to_owned());
    assert_eq!(described, fields);
}
