//! The Python client: its types, and its own tests against a real master and worker.

use std::{env, ffi::OsString, process::Output};

use orchestra_tests::{Plan, repository, say, skip};
use tokio::{process::Command, time::timeout};

/// Much longer than it takes on two busy cores.
const LONGEST: std::time::Duration = std::time::Duration::from_mins(5);

/// The Python interpreter that has the required packages.
fn python() -> OsString {
    env::var_os("ORCHESTRA_PYTHON").unwrap_or_else(|| "python3".into())
}

/// Runs Python in the client's folder, leaving nothing there.
async fn run(arguments: &[&str], url: &str) -> Output {
    let mut command = Command::new(python());
    command.args(arguments).current_dir(repository().join("clients/python"));
    command.env("PYTHONPATH", "src").env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("ORCHESTRA_URL", url).env_remove("ORCHESTRA_TOKEN").kill_on_drop(true);
    timeout(LONGEST, command.output()).await.expect("it ends").expect("it runs")
}

#[track_caller]
fn passed(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said.lines().last().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn its_types_hold_and_its_tests_pass_against_a_master() {
    let needs = ["-c", "import mypy, pytest, requests"];
    let there = Command::new(python()).args(needs).output().await;
    if !there.is_ok_and(|output| output.status.success()) {
        return skip("python", "pip install requests types-requests pytest mypy");
    }
    let types = run(&["-m", "mypy", "--cache-dir", "/dev/null"], "").await;
    say(&format!("mypy: {}", passed(&types)));
    let Some(stack) = Plan::default().start().await else { return };
    let url = format!("http://127.0.0.1:{}", stack.port);
    let tests = run(&["-m", "pytest", "-q", "-p", "no:cacheprovider"], &url).await;
    let summary = passed(&tests);
    assert!(summary.contains(" passed") && !summary.contains("skipped"), "{summary}");
    say(&format!("pytest: {summary}"));
    stack.stop().await;
}
