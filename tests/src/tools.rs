//! Small helpers that most tests need.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::Command;

use crate::{Reply, settings, wait};

/// The root of the workspace.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate stands in the workspace")
        .to_owned()
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Prints one line that says why a test did not run. Under `CI=true` it fails instead.
///
/// # Panics
/// Under `CI=true`.
pub fn skip(lane: &str, why: &str) {
    assert!(!settings::in_ci(), "the lane {lane:?} cannot run: {why}");
    say(&format!("skipped {lane}: {why}"));
}

/// Prints a line that is visible even while the tests pass: the test runner captures what
/// `println` and `eprintln` write.
pub fn say(line: &str) {
    // If this fails, nobody is listening.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Runs curl quietly, with status and headers before the body.
pub async fn curl<I, S>(arguments: I) -> Reply
where
    I: IntoIterator<Item = S>,
    S: AsRef<std::ffi::OsStr>,
{
    let mut command = Command::new("curl");
    // An empty Expect header avoids a "100 Continue" before the real headers of a large upload.
    command.args(["-sS", "-i", "-H", "Expect:"]).args(arguments);
    let output = tokio::time::timeout(wait::JOB, command.kill_on_drop(true).output())
        .await
        .expect("curl ends in time")
        .expect("curl is installed");
    assert!(output.status.success(), "curl: {}", String::from_utf8_lossy(&output.stderr));
    Reply::parse(&output.stdout)
}

/// Runs a bash script with these variables and returns its standard output.
///
/// # Panics
/// When the script fails; the message holds its output.
pub async fn shell(script: &Path, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new("bash");
    command.arg(script).envs(variables.iter().copied()).stdin(Stdio::null());
    let output = tokio::time::timeout(wait::JOB, command.kill_on_drop(true).output())
        .await
        .unwrap_or_else(|_| panic!("{} does not end", script.display()))
        .expect("bash is installed");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {stdout}{stderr}", script.display());
    stdout
}
