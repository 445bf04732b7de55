//! A master and its workers, as separate processes.

mod plan;
mod worker;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{
    Api, SmallDisk, engine, free_port,
    program::{self, Memory, Program, Ran},
    proxy::Proxy,
    wait,
};

pub use plan::{Plan, Turn, turn, unique_name};
pub use worker::{Way, Worker};

/// A running master and its workers. Dropping it kills them and removes their containers.
#[derive(Debug)]
pub struct Stack {
    pub api: Api,
    pub workers: Vec<Worker>,
    pub port: u16,
    master: Program,
    /// The names of all workers ever started.
    names: Vec<String>,
    plan: Plan,
    disk: Option<SmallDisk>,
    folder: TempDir,
    _turn: Turn,
}

impl Stack {
    async fn start(plan: Plan, turn: Turn, folder: TempDir, disk: Option<SmallDisk>) -> Self {
        let port = free_port();
        let mut stack = Self {
            api: Api::new(format!("http://127.0.0.1:{port}")),
            workers: Vec::new(),
            port,
            master: start_master(&plan, port, folder.path()),
            names: Vec::new(),
            plan,
            disk,
            folder,
            _turn: turn,
        };
        stack.master_is_ready().await;
        if stack.plan.tokens {
            let admin = std::fs::read_to_string(stack.token_file("admin"));
            stack.api =
                stack.api.clone().with_token(&admin.expect("the master makes the token file"));
        }
        for _ in 0..stack.plan.workers {
            stack.start_worker(Way::default()).await;
        }
        stack.workers_are_online().await;
        stack
    }

    /// Adds a worker and waits until it is online.
    pub async fn add_worker(&mut self) {
        self.add_worker_by(Way::default()).await;
    }

    /// Adds a worker with its own configuration and waits until it is online.
    pub async fn add_worker_by(&mut self, way: Way) {
        self.start_worker(way).await;
        self.workers_are_online().await;
    }

    /// Takes the first worker out of the stack without stopping it.
    ///
    /// # Panics
    /// When the stack has no workers.
    pub fn take_worker(&mut self) -> Worker {
        self.workers.remove(0)
    }

    /// Starts a new process for the first worker under the same name, after [`Program::kill`].
    ///
    /// # Panics
    /// When the stack has no workers.
    pub async fn restart_worker(&mut self) {
        self.start_worker_again(0);
        self.workers_are_online().await;
    }

    /// The same for any worker, without waiting until it is online.
    ///
    /// # Panics
    /// When there is no worker at `index`.
    pub fn start_worker_again(&mut self, index: usize) {
        self.workers[index].start_again(&self.plan, self.folder.path());
    }

    async fn start_worker(&mut self, way: Way) {
        let (mut url, mut link) = (self.api.url(""), None);
        if self.plan.proxied {
            let proxy = Proxy::before(self.address()).await;
            url = format!("http://{}", proxy.address);
            link = Some(proxy);
        }
        let worker = Worker::start(&self.plan, self.folder.path(), url, link, way);
        self.names.push(worker.name.clone());
        self.workers.push(worker);
    }

    /// Where the master listens.
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// The master's process.
    pub fn master(&mut self) -> &mut Program {
        &mut self.master
    }

    /// The names of all workers ever started.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    async fn master_is_ready(&mut self) {
        let (api, master) = (&self.api, &mut self.master);
        wait::until("the master to be ready", wait::START, async || {
            let ended = master.ended();
            assert!(ended.is_none(), "the master ended: {}", master.printed());
            let answer = api.request(reqwest::Method::GET, "/readyz").send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    /// Waits until all workers are registered and online.
    pub async fn workers_are_online(&mut self) {
        let (api, workers) = (&self.api, &mut self.workers);
        wait::until("the workers to be online", wait::START, async || {
            for worker in workers.iter_mut() {
                let ended = worker.program.ended();
                assert!(ended.is_none(), "a worker ended: {}", worker.program.printed());
            }
            let known = api.workers().await;
            let online = |name: &str| known.iter().any(|w| w.online && w.name.as_str() == name);
            workers.iter().all(|worker| online(&worker.name)).then_some(())
        })
        .await;
    }

    /// The worker-files folder of the first worker.
    ///
    /// # Panics
    /// When the stack has no workers.
    pub fn files(&self) -> &Path {
        &self.workers[0].files
    }

    /// Memory use of the master and of each worker.
    pub fn memory(&self) -> Vec<Memory> {
        let workers = self.workers.iter().map(|worker| &worker.program);
        std::iter::once(&self.master).chain(workers).map(Program::memory).collect()
    }

    /// The stack's temporary folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The disk that holds the master's data.
    ///
    /// # Panics
    /// When the plan has no disk.
    pub fn disk(&self) -> &SmallDisk {
        self.disk.as_ref().expect("the plan has a disk")
    }

    /// The master's data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The token file of a role, in a stack [`Plan::with_tokens`].
    pub fn token_file(&self, role: &str) -> PathBuf {
        token_file(self.folder.path(), role)
    }

    /// Everything the master has printed so far.
    pub fn master_printed(&self) -> String {
        self.master.printed()
    }

    /// Sends SIGKILL to the master; whatever it had not stored is lost.
    pub fn kill_master(&mut self) {
        self.master.kill();
    }

    /// Starts a new master with the port and data of the killed one, and waits until it is ready.
    pub async fn restart_master(&mut self) {
        self.start_master_again();
        self.master_is_ready().await;
    }

    /// The same, without waiting until it is ready.
    pub fn start_master_again(&mut self) {
        self.master = start_master(&self.plan, self.port, self.folder.path());
    }

    /// An `orchestra` command with these arguments, configured for this master.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program::command(arguments);
        command.env("ORCHESTRA_URL", self.api.url("")).current_dir(self.folder.path());
        command
    }

    /// Runs [`Stack::command`] to its end.
    pub async fn cli(&self, arguments: &[&str]) -> Ran {
        program::run(self.command(arguments), wait::JOB).await
    }

    /// Terminates all, workers first. Each must end cleanly and leave no containers.
    pub async fn stop(mut self) {
        for worker in &mut self.workers {
            worker.program.terminate().await;
        }
        self.master.terminate().await;
        for worker in &self.names {
            let left = engine::containers_left(worker).await;
            assert!(left.is_empty(), "{worker} ended and left containers: {left:?}");
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            worker.program.kill();
        }
        self.master.kill();
        if std::thread::panicking() && !self.names.is_empty() {
            engine::remove_containers(std::mem::take(&mut self.names));
        }
    }
}

fn token_file(folder: &Path, role: &str) -> PathBuf {
    folder.join("tokens").join(role).join("token")
}

fn start_master(plan: &Plan, port: u16, folder: &Path) -> Program {
    let mut command: Command = program::command(["master"]);
    command
        .env("ORCHESTRA_LISTEN", format!("127.0.0.1:{port}"))
        .env("ORCHESTRA_DATA", folder.join("data"))
        .env("ORCHESTRA_LOG", "info")
        .envs(plan.settings.iter().map(|(name, value)| (name, value)));
    if plan.tokens {
        command.env("ORCHESTRA_TOKENS", folder.join("tokens"));
    }
    Program::start("master", command, folder.join("master.log"))
}
