//! Starting the program.

use std::{
    process::{Output, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::timeout,
};

/// The machine may be busy; a program that takes longer hangs.
const LIMIT: Duration = Duration::from_mins(1);

/// Runs it in a folder of its own with these variables and no other setting.
pub(crate) async fn orchestra(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let folder = TempDir::new().unwrap();
    let mut command = command(arguments);
    command.current_dir(folder.path()).envs(variables.iter().copied());
    timeout(LIMIT, command.output()).await.expect("it ends").unwrap()
}

/// One that does not end by itself; its standard output is a pipe.
pub(crate) fn start(arguments: &[&str]) -> Child {
    command(arguments).stdout(Stdio::piped()).spawn().unwrap()
}

/// Ends with its handle.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orchestra"));
    command.args(arguments).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The one line of a program that could not do its work.
pub(crate) fn sentence(output: &Output) -> &str {
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    assert_eq!(text(&output.stdout), "");
    let said = text(&output.stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
    said.strip_prefix("orchestra: ").unwrap().trim_end()
}
