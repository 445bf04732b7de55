//! Credential helpers: programs that store registry credentials (`credHelpers` and `credsStore` of
//! `config.json`), so that no file contains them.
//!
//! The protocol is that of docker-credential-helpers: run `docker-credential-NAME get`, write the
//! server to its standard input, and read a JSON object with `Username` and `Secret` from its
//! standard output. That output is never logged.

use std::{ffi::OsStr, process::Stdio, time::Duration};

use serde::Deserialize;
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

/// A helper may ask a keychain, and the keychain may ask a person who is away.
const LIMIT: Duration = Duration::from_secs(30);
/// Its output when it has no credentials for the server.
const NOTHING: &str = "credentials not found";
/// In place of a user name, it says that the secret is an identity token.
const TOKEN: &str = "<token>";

/// The credentials that a helper returns.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RegistryCredentials {
    Login { name: String, password: String },
    Token(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperOutput {
    username: String,
    secret: String,
}

/// The program's name. `None` if the name in the file could lead to another path.
pub(super) fn program(name: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (!name.is_empty() && name.chars().all(plain)).then(|| format!("docker-credential-{name}"))
}

/// Asks the helper for its credentials for `server`.
pub(super) async fn ask(
    program: &OsStr,
    server: &str,
) -> Result<Option<RegistryCredentials>, String> {
    let shown = program.to_string_lossy();
    let said = timeout(LIMIT, run(program, server)).await;
    let said = said.map_err(|_| format!("{shown} has not answered within {LIMIT:?}"))?;
    let (success, text) = said.map_err(|error| format!("{shown} cannot be run: {error}"))?;
    if !success && text.contains(NOTHING) {
        return Ok(None);
    }
    if !success {
        return Err(format!("{shown} does not give the login of {server}"));
    }
    // The parser's message could repeat the secret.
    let said: HelperOutput =
        serde_json::from_str(&text).map_err(|_| format!("{shown} answers what cannot be read"))?;
    Ok(match (said.username, said.secret) {
        (name, _) if name.is_empty() => None,
        (name, token) if name == TOKEN => Some(RegistryCredentials::Token(token)),
        (name, password) => Some(RegistryCredentials::Login { name, password }),
    })
}

async fn run(program: &OsStr, server: &str) -> std::io::Result<(bool, String)> {
    let mut helper = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut input) = helper.stdin.take() {
        // A helper that answers without reading has closed its input.
        let _ = input.write_all(server.as_bytes()).await;
    }
    let output = helper.wait_with_output().await?;
    Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    async fn says(script: &str) -> Result<Option<RegistryCredentials>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker-credential-test");
        fs::write(&path, format!("#!/bin/sh\nread -r server\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        // Another test's fork may hold the script open for writing a moment longer.
        for _ in 0..50 {
            match ask(path.as_os_str(), "ghcr.io\n").await {
                Err(busy) if busy.contains("Text file busy") => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                said => return said,
            }
        }
        panic!("it stays busy");
    }

    #[tokio::test]
    async fn a_helper_is_asked_for_the_server_and_answers_in_json() {
        let login = |name: &str, password: &str| {
            Ok(Some(RegistryCredentials::Login {
                name: name.to_owned(),
                password: password.to_owned(),
            }))
        };
        let script = r#"[ "$1" = get ] && echo "{\"ServerURL\": \"$server\", \"Username\": \"me\", \"Secret\": \"for $server\"}""#;
        assert_eq!(says(script).await, login("me", "for ghcr.io"));
        let token = r#"echo '{"Username": "<token>", "Secret": "t"}'"#;
        assert_eq!(says(token).await, Ok(Some(RegistryCredentials::Token("t".to_owned()))));
        let none = "echo 'credentials not found in native keychain'; exit 1";
        assert_eq!(says(none).await, Ok(None));
    }

    #[tokio::test]
    async fn what_goes_wrong_is_told_without_what_it_said() {
        for script in ["echo hunter2; exit 1", "echo hunter2"] {
            let error = says(script).await.unwrap_err();
            assert!(
                error.contains("docker-credential-test") && !error.contains("hunter2"),
                "{error}"
            );
        }
        let error = ask(OsStr::new("/nowhere/docker-credential-x"), "ghcr.io").await.unwrap_err();
        assert!(error.contains("cannot be run"), "{error}");
    }

    #[test]
    fn a_name_leads_to_no_other_folder() {
        assert_eq!(program("ecr-login").as_deref(), Some("docker-credential-ecr-login"));
        for name in ["", "../x", "a/b", "a b"] {
            assert_eq!(program(name), None, "{name}");
        }
    }
}
