//! Requests made up from the description of the API (`contracts/openapi.json`), by
//! schemathesis: no 5xx, and no status, type or body that is not described.

use std::{fs, path::Path};

use orchestra_contracts::paths;
use orchestra_tests::{Plan, Stack, repository, skip};
use serde_json::{Value, json};
use tokio::{process::Command, time::timeout};

/// More than it ever takes on two busy cores.
const LONGEST: std::time::Duration = std::time::Duration::from_mins(10);
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance";

/// The description, without the parameters that make an answer wait for a job's end.
fn without_waits() -> Value {
    let text =
        fs::read_to_string(repository().join("contracts/openapi.json")).expect("it is there");
    let mut description: Value = serde_json::from_str(&text).expect("it is JSON");
    let short = json!({"type": "string", "pattern": "^[0-9]{1,2}ms$"});
    let routes = description["paths"].as_object_mut().expect("an object").values_mut();
    for operation in routes.flat_map(|path| path.as_object_mut().expect("an object").values_mut()) {
        // Indexing would put a null where there are none.
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
    // Nothing is sent to anybody while it runs.
    let webhook = &mut description["components"]["schemas"]["NewWebhook"]["properties"]["url"];
    *webhook = json!({"enum": ["https://receiver.invalid/", "http://10.0.0.1/"]});
    // The master's own tests serve the examples; here only what is made up is wanted, for it would
    // wait as theirs do, and send messages to where theirs go.
    without_examples(&mut description);
    let claim = &mut description["components"]["schemas"]["ClaimRequest"];
    claim["anyOf"][1]["properties"]["wait"] = short;
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

/// Runs it with so many examples for each operation, and answers its summary.
async fn run(stack: &Stack, folder: &Path, examples: u32, token: Option<&str>) -> String {
    let url = format!("http://127.0.0.1:{}", stack.port);
    let mut command = Command::new("schemathesis");
    command.args(["run", "openapi.json", "--url", &url, "--checks", CHECKS]);
    command.args(["--phases", "coverage,fuzzing", "--max-examples", &examples.to_string()]);
    command.args(["--seed", "1", "--no-shrink", "--request-timeout", "30"]);
    command.args(["--generation-database", "none", "--suppress-health-check", "all"]);
    command.args(["--warnings", "off", "--no-color"]);
    if let Some(token) = token {
        command.args(["--header", &format!("authorization: Bearer {}", token.trim())]);
    }
    let output = command.current_dir(folder).kill_on_drop(true).output();
    let output = timeout(LONGEST, output).await.expect("it ends").expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let summary = said.lines().find(|line| line.contains(" generated, ")).unwrap_or_default();
    assert!(!summary.is_empty(), "nothing was tried: {said}");
    summary.trim().to_owned()
}

#[tokio::test]
async fn every_answer_is_one_that_is_described() {
    let there = Command::new("schemathesis").arg("--version").output().await;
    if !there.is_ok_and(|output| output.status.success()) {
        return skip("openapi", "schemathesis is not installed (pip install schemathesis)");
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("openapi.json"), without_waits().to_string()).unwrap();
    let no_engine = "a master alone needs no engine";
    let open = Plan::default().workers(0).start().await.expect(no_engine);
    orchestra_tests::say(&format!("open: {}", run(&open, folder.path(), 10, None).await));
    open.stop().await;
    let closed = Plan::default().workers(0).with_tokens().start().await.expect(no_engine);
    let nobody = run(&closed, folder.path(), 1, None).await;
    orchestra_tests::say(&format!("without a token: {nobody}"));
    let token = fs::read_to_string(closed.token_file("admin")).unwrap();
    let admin = run(&closed, folder.path(), 3, Some(&token)).await;
    orchestra_tests::say(&format!("as admin: {admin}"));
    closed.stop().await;
}
