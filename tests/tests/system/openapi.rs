//! Requests that schemathesis generates from the description of the API (`contracts/openapi.json`). No
//! answer may be a 5xx, or have an undescribed status, type, header or body. Nothing may be granted
//! without the required token, and nothing may still exist after it was deleted.

use std::fs;

use orchestra_contracts::paths;
use orchestra_tests::{Plan, Stack, repository, say, skip};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{process::Command, time::timeout};

/// Much longer than it takes on two busy cores.
const LONGEST: std::time::Duration = std::time::Duration::from_mins(30);
/// All checks but these two, which would need a description of everything the master checks. It is
/// stricter than a schema can be (calendar times, mutually exclusive fields), and more lenient where
/// that is harmless (`null` for an optional field).
const NOT_CHECKED: &str = "positive_data_acceptance,negative_data_rejection";
/// Examples for each operation. With those that schemathesis adds, these make ten thousand.
const MANY: u32 = 200;

/// The description without the parameters that make a request wait for a job's end.
fn without_waits() -> Value {
    let text =
        fs::read_to_string(repository().join("contracts/openapi.json")).expect("it is there");
    let mut description: Value = serde_json::from_str(&text).expect("it is JSON");
    let short = json!({"type": "string", "pattern": "^[0-9]{1,2}ms$"});
    let routes = description["paths"].as_object_mut().expect("an object").values_mut();
    for operation in routes.flat_map(|path| path.as_object_mut().expect("an object").values_mut()) {
        // Indexing would insert a null where there are none.
        let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
        for parameter in parameters.into_iter().flatten() {
            match parameter["name"].as_str() {
                Some("wait") => parameter["schema"] = short.clone(),
                Some("follow") => parameter["schema"] = json!({"enum": [false]}),
                _ => {}
            }
        }
    }
    let log = &mut description["paths"][paths::LOG]["get"]["responses"]["200"]["content"];
    log.as_object_mut().expect("an object").remove("text/event-stream");
    // Nothing is sent to any receiver during the run.
    let webhook = &mut description["components"]["schemas"]["NewWebhook"]["properties"]["url"];
    *webhook = json!({"enum": ["https://receiver.invalid/", "http://10.0.0.1/"]});
    // The master's own tests cover the examples. Here only generated requests are wanted, since the
    // examples would wait, and would send messages to their receivers.
    without_examples(&mut description);
    let claim = &mut description["components"]["schemas"]["ClaimRequest"];
    claim["anyOf"][1]["properties"]["wait"] = short;
    description
}

/// The description of a master that requires no token.
fn without_tokens(mut description: Value) -> Value {
    let components = description["components"].as_object_mut().expect("an object");
    components.remove("securitySchemes");
    let routes = description["paths"].as_object_mut().expect("an object").values_mut();
    for operation in routes.flat_map(|path| path.as_object_mut().expect("an object").values_mut()) {
        if let Some(operation) = operation.as_object_mut() {
            operation.remove("security");
        }
    }
    description
}

fn without_examples(part: &mut Value) {
    match part {
        Value::Object(fields) => {
            fields.remove("examples");
            fields.remove("example");
            fields.values_mut().for_each(without_examples);
        }
        Value::Array(all) => all.iter_mut().for_each(without_examples),
        _ => {}
    }
}

/// A master, and the folder with its description.
struct Asked {
    stack: Stack,
    folder: TempDir,
}

impl Asked {
    async fn open() -> Self {
        Self::of(Plan::default(), &without_tokens(without_waits())).await
    }

    async fn closed() -> Self {
        Self::of(Plan::default().with_tokens(), &without_waits()).await
    }

    async fn of(plan: Plan, description: &Value) -> Self {
        let stack = plan.workers(0).start().await.expect("a master alone needs no engine");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("openapi.json");
        fs::write(file, description.to_string()).expect("it is written");
        Self { stack, folder }
    }

    fn token(&self) -> String {
        fs::read_to_string(self.stack.token_file("admin")).expect("the master makes the token file")
    }

    /// Runs schemathesis with this many examples for each operation; returns the number of requests.
    async fn run(&self, who: &str, examples: u32, token: Option<&str>) -> u32 {
        let url = format!("http://127.0.0.1:{}", self.stack.port);
        let mut command = Command::new("schemathesis");
        command.args(["run", "openapi.json", "--url", &url, "--checks", "all"]);
        command.args(["--exclude-checks", NOT_CHECKED]);
        command.args(["--phases", "coverage,fuzzing", "--max-examples", &examples.to_string()]);
        command.args(["--seed", "1", "--no-shrink", "--request-timeout", "30"]);
        command.args(["--generation-database", "none", "--suppress-health-check", "all"]);
        command.args(["--warnings", "off", "--no-color"]);
        if let Some(token) = token {
            // Given as a header, it would also be sent where a missing token is tested.
            let settings = format!("[auth.openapi.token]\nbearer = \"{}\"\n", token.trim());
            let file = self.folder.path().join("schemathesis.toml");
            fs::write(file, settings).expect("it is written");
        }
        let output = command.current_dir(self.folder.path()).kill_on_drop(true).output();
        let output = timeout(LONGEST, output).await.expect("it ends").expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        let summary = text.lines().find(|line| line.contains(" generated, ")).unwrap_or_default();
        say(&format!("{who}: {}", summary.trim()));
        let count = summary.split_whitespace().next().and_then(|count| count.parse().ok());
        count.unwrap_or_else(|| panic!("nothing was tried: {text}"))
    }
}

async fn is_there() -> bool {
    let there = Command::new("schemathesis").arg("--version").output().await;
    let there = there.is_ok_and(|output| output.status.success());
    if !there {
        skip("openapi", "schemathesis is not installed (pip install schemathesis)");
    }
    there
}

#[tokio::test]
async fn every_answer_is_one_that_is_described() {
    if !is_there().await {
        return;
    }
    let open = Asked::open().await;
    open.run("open", 10, None).await;
    open.stack.stop().await;
    let closed = Asked::closed().await;
    closed.run("without a token", 1, None).await;
    closed.run("as admin", 3, Some(&closed.token())).await;
    closed.stack.stop().await;
}

#[tokio::test]
#[ignore = "it takes a quarter of an hour"]
async fn ten_thousand_examples_each_without_a_token_and_with_one() {
    if !is_there().await {
        return;
    }
    let open = Asked::open().await;
    let count = open.run("open", MANY, None).await;
    assert!(count >= 10_000, "{count}");
    open.stack.stop().await;
    let closed = Asked::closed().await;
    closed.run("without a token", 10, None).await;
    let count = closed.run("as admin", MANY, Some(&closed.token())).await;
    assert!(count >= 10_000, "{count}");
    closed.stack.stop().await;
}
