//! One worker of a stack: its way to the master, and its files.

use std::{
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Plan, token_file, unique_name};
use crate::{
    is_root,
    program::{self, Program},
    proxy::Proxy,
    repository,
};

/// How a worker is started, and how it reaches its master.
#[derive(Clone, Debug, Default)]
pub struct Way {
    /// The master's URL as the worker sees it; the stack's own if unset.
    pub url: Option<String>,
    /// Prefix of the worker's command line, like `ip netns exec name`.
    pub before: Vec<String>,
    /// Additional environment variables.
    pub settings: Vec<(&'static str, String)>,
}

/// A worker of a [`Stack`](super::Stack).
#[derive(Debug)]
pub struct Worker {
    pub name: String,
    /// Its worker-files folder, as the host sees it.
    pub files: PathBuf,
    pub program: Program,
    /// Its proxy to the master, when the plan is [`Plan::proxied`].
    pub link: Option<Proxy>,
    way: Way,
    url: String,
}

impl Worker {
    /// Starts a worker under a new name.
    pub(super) fn start(
        plan: &Plan,
        folder: &Path,
        url: String,
        link: Option<Proxy>,
        way: Way,
    ) -> Self {
        let name = unique_name("system-test");
        let shared = if plan.shared_files { "shared-files" } else { &name };
        let files = worker_files(folder.join(shared), plan.owner);
        let program = start(plan, folder, &name, &files, &url, &way);
        Self { name, files, program, link, way, url }
    }

    /// Starts a new process under the same name. The previous one must have ended.
    pub(super) fn start_again(&mut self, plan: &Plan, folder: &Path) {
        self.program = start(plan, folder, &self.name, &self.files, &self.url, &self.way);
    }
}

fn start(plan: &Plan, folder: &Path, name: &str, files: &Path, url: &str, way: &Way) -> Program {
    let mut command = command(&way.before);
    command
        .env("ORCHESTRA_URL", way.url.as_deref().unwrap_or(url))
        .env("ORCHESTRA_WORKER_NAME", name)
        .env("ORCHESTRA_WORKER_FILES", files)
        .env("ORCHESTRA_SLOTS", plan.slots.to_string())
        .env("ORCHESTRA_LOG", "info")
        .envs(plan.settings.iter().chain(&way.settings).map(|(name, value)| (name, value)));
    if plan.tokens {
        command.env("ORCHESTRA_TOKEN_FILE", token_file(folder, "worker"));
    }
    Program::start(name, command, folder.join(format!("{name}.log")))
}

fn command(before: &[String]) -> Command {
    let worker = program::command(["worker"]);
    let Some((first, others)) = before.split_first() else { return worker };
    let mut command = Command::new(first);
    command.args(others).arg(worker.get_program()).args(worker.get_args());
    for (name, value) in worker.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// Makes a worker-files folder with Hello.cpp in it, all owned by this user.
fn worker_files(folder: PathBuf, owner: u32) -> PathBuf {
    if folder.exists() {
        return folder;
    }
    let hello = folder.join("Hello.cpp");
    std::fs::create_dir(&folder).expect("a new folder");
    std::fs::copy(repository().join("worker-files/Hello.cpp"), &hello)
        .expect("the repository has worker-files/Hello.cpp");
    if is_root() {
        for path in [&folder, &hello] {
            chown(path, Some(owner), Some(owner)).expect("root may give files away");
        }
    }
    folder
}
