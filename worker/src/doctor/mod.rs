//! Checks whether this machine can run jobs, and gives the command that fixes each problem. Changes
//! nothing.

mod clock;

use std::path::Path;

use futures::future::BoxFuture;

use crate::{
    Config,
    config::JobUser,
    executor::docker::{Engine, EngineError, check_architecture, images_of, user_of_folder},
};

pub use clock::clock_check;

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub name: &'static str,
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// How to fix it: a command where one exists.
    pub fix: Option<String>,
}

impl Check {
    pub(crate) fn good(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, ok: true, detail: detail.into(), fix: None }
    }

    pub(crate) fn bad(
        name: &'static str,
        detail: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { name, ok: false, detail: detail.into(), fix: Some(fix.into()) }
    }
}

impl Check {
    /// The same check in the form that the master gets.
    pub(crate) fn told(self) -> orchestra_contracts::worker::Check {
        let Self { name, ok, detail, fix } = self;
        orchestra_contracts::worker::Check { name: name.to_owned(), ok, detail, fix }
    }
}

/// Checks everything that a worker with these settings needs, except the master.
pub fn checks(config: &Config) -> BoxFuture<'_, Vec<Check>> {
    // Boxed for the same reason as `crate::run_until`.
    Box::pin(look(config))
}

async fn look(config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    match Engine::connect(&config.engine).await {
        Err(error) => checks.push(unreachable(&config.engine, error)),
        Ok(engine) => {
            checks.push(Check::good(
                "engine",
                format!("{} at {}", engine.version(), engine.address()),
            ));
            checks.push(architecture(&engine));
            checks.push(default_image(&engine, config).await);
        }
    }
    checks.push(worker_files(&config.worker_files, config.sandbox.job_user));
    checks
}

fn unreachable(address: &str, error: EngineError) -> Check {
    match error {
        EngineError::Unreachable { address, reason, advice } => {
            Check::bad("engine", format!("{address}: {reason}"), advice)
        }
        error => Check::bad("engine", format!("{address}: {error}"), "docker info"),
    }
}

fn architecture(engine: &Engine) -> Check {
    match check_architecture(engine) {
        Ok(()) => Check::good("architecture", engine.architecture()),
        Err(reason) => Check::bad(
            "architecture",
            reason,
            "run the worker on the engine's machine, and let it take jobs with --url",
        ),
    }
}

async fn default_image(engine: &Engine, config: &Config) -> Check {
    let (images, name) = (images_of(engine, config), &config.default_image);
    let list = images.list().await;
    match list.map(|list| list.into_iter().find(|image| image.name == *name)) {
        Ok(Some(image)) if image.built => Check::good("default image", image.reference),
        Ok(Some(_)) => Check::good(
            "default image",
            format!(
                "{name} is not built yet; the first job builds it, or: orchestra images build {name}"
            ),
        ),
        Ok(None) => Check::bad(
            "default image",
            format!("there is no folder {}/{name} with a Dockerfile", config.images.display()),
            "name a folder that has it with --images, or name another with --default-image",
        ),
        Err(error) => Check::bad("default image", error.to_string(), "docker info"),
    }
}

fn worker_files(folder: &Path, user: Option<JobUser>) -> Check {
    let name = "worker-files";
    let shown = folder.display();
    let (owner_user, owner) = match user_of_folder(folder) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Check::good(name, format!("{shown} is missing; the worker will create it"));
        }
        Err(error) => {
            return Check::bad(name, format!("{shown}: {error}"), format!("ls -ld {shown}"));
        }
    };
    let user = user.unwrap_or(owner_user);
    let we_are_root = rustix::process::geteuid().is_root();
    if owner == user.uid {
        Check::good(name, format!("{shown}, jobs run as user {user}"))
    } else if owner == 0 && we_are_root {
        Check::good(
            name,
            format!("{shown} belongs to root; the worker will give it to user {user}"),
        )
    } else {
        let detail = format!("{shown} belongs to user {owner}, and jobs run as user {user}");
        Check::bad(name, detail, format!("sudo chown {user} {shown}"))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        config: Config,
    }

    async fn checked(arguments: &[&str]) -> Vec<Check> {
        let arguments = [&["program"], arguments].concat();
        checks(&Program::parse_from(arguments).config).await
    }

    #[tokio::test]
    async fn what_is_amiss_comes_with_what_mends_it() {
        let home = tempfile::tempdir().unwrap();
        let files = home.path().join("worker-files").display().to_string();
        let engine = format!("unix://{}/none.sock", home.path().display());
        let checks = checked(&["--engine", &engine, "--worker-files", &files]).await;
        let [engine, files] = &checks[..] else { panic!("{checks:?}") };
        assert!(!engine.ok && engine.fix.as_ref().unwrap().contains("apt-get"), "{engine:?}");
        assert!(files.ok && files.detail.contains("will create"), "{files:?}");
    }

    #[test]
    fn a_folder_of_somebody_else_is_noticed() {
        let home = tempfile::tempdir().unwrap();
        let owner = rustix::process::geteuid().as_raw();
        assert!(worker_files(home.path(), None).ok);
        let other = JobUser { uid: owner + 4711, gid: 1 };
        // Root gives its folders to the job user; other users cannot.
        let check = worker_files(home.path(), Some(other));
        assert_eq!(check.ok, owner == 0, "{check:?}");
    }
}
