//! Secrets for a job: from the environment or from files, never from the command line, which
//! every user of the machine can read.

use std::{collections::BTreeMap, env, path::Path};

use orchestra_contracts::{Secret, limits};

use super::job::read;
use crate::failure::Failure;

/// What `--secret` names: `NAME`, a variable of this command's own environment, or `NAME=@FILE`.
/// Line feeds at the end of a file are no part of its secret.
pub(crate) fn all(wanted: &[String]) -> Result<BTreeMap<String, Secret>, Failure> {
    wanted.iter().map(|wanted| one(wanted)).collect()
}

#[expect(clippy::disallowed_methods, reason = "no setting: its name comes from the command line")]
pub(super) fn variable(name: &str) -> Result<String, env::VarError> {
    env::var(name)
}

fn one(wanted: &str) -> Result<(String, Secret), Failure> {
    let value = match wanted.split_once('=') {
        None => variable(wanted).map_err(|error| {
            Failure::said(format!(
                "the secret {wanted} cannot be taken from the environment: {error}"
            ))
        })?,
        Some((_, source)) => {
            let Some(path) = source.strip_prefix('@') else {
                // Without a word of it: this may be a terminal that somebody looks at.
                return Err(Failure::said(
                    "--secret takes NAME, a variable of the environment, or NAME=@FILE; others \
                     can read a command line, so the value never stands there",
                ));
            };
            let text = read(Path::new(path), limits::SECRET_BYTES + 2)?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        }
    };
    let name = wanted.split('=').next().unwrap_or_default();
    Ok((name.to_owned(), Secret::new(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(wanted: &str) -> Result<String, String> {
        let (name, secret) = one(wanted).map_err(|failure| failure.to_string())?;
        Ok(format!("{name}: {}", secret.expose()))
    }

    #[test]
    fn it_comes_from_a_file_or_from_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "two lines\nof it\r\n\n").unwrap();
        let from_file = value(&format!("TOKEN=@{}", path.display()));
        assert_eq!(from_file.as_deref(), Ok("TOKEN: two lines\nof it"));
        let path = variable("PATH").unwrap();
        assert_eq!(value("PATH"), Ok(format!("PATH: {path}")));
    }

    #[test]
    fn it_is_not_taken_from_the_command_line_nor_repeated() {
        let refused = value("TOKEN=hunter2hunter2").unwrap_err();
        assert!(refused.contains("NAME=@FILE") && !refused.contains("hunter2"), "{refused}");
        let refused = value("NO_SUCH_VARIABLE_HERE").unwrap_err();
        assert!(refused.contains("NO_SUCH_VARIABLE_HERE"), "{refused}");
        assert!(value("TOKEN=@/no/such/file").unwrap_err().contains("/no/such/file"));
    }
}
