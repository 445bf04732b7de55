//! A master and its workers, as processes of their own.

use std::{
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    Api, SmallDisk, engine, free_port, is_root,
    program::{self, Memory, Program, Ran},
    repository, wait,
};

/// How many tests run at once: all share one engine, and often two cores.
static TURNS: Semaphore = Semaphore::const_new(2);

/// The owner of worker-files when the tests run as root: anybody but root.
const ORDINARY_USER: u32 = 1000;

/// What a [`Stack`] is to be like.
#[derive(Clone, Debug)]
pub struct Plan {
    workers: usize,
    slots: u32,
    shared_files: bool,
    owner: u32,
    disk: Option<&'static str>,
    tokens: bool,
    settings: Vec<(&'static str, String)>,
}

impl Default for Plan {
    /// One worker with two slots.
    fn default() -> Self {
        Self {
            workers: 1,
            slots: 2,
            shared_files: false,
            owner: ORDINARY_USER,
            disk: None,
            tokens: false,
            settings: Vec::new(),
        }
    }
}

impl Plan {
    /// With none, the stack needs no engine.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Jobs that each worker runs at once.
    #[must_use]
    pub fn slots(mut self, slots: u32) -> Self {
        self.slots = slots;
        self
    }

    /// One worker-files folder for all workers instead of one each.
    #[must_use]
    pub fn shared_files(mut self) -> Self {
        self.shared_files = true;
        self
    }

    /// Who owns worker-files. Only root can choose.
    #[must_use]
    pub fn owner(mut self, uid: u32) -> Self {
        self.owner = uid;
        self
    }

    /// A disk of this size for the master's data.
    #[must_use]
    pub fn disk(mut self, size: &'static str) -> Self {
        self.disk = Some(size);
        self
    }

    /// The master asks everybody for a token. The workers and [`Stack::api`] have
    /// one each, see [`Stack::token_file`].
    #[must_use]
    pub fn with_tokens(mut self) -> Self {
        self.tokens = true;
        self
    }

    /// An environment variable for master and workers.
    #[must_use]
    pub fn setting(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.settings.push((name, value.into()));
        self
    }

    /// Starts it all; `None`, and one line that says why, when there is no engine
    /// for the workers or no disk for the data.
    pub async fn start(self) -> Option<Stack> {
        if self.workers > 0 && !engine::is_there().await {
            return None;
        }
        let turn = turn().await;
        if self.workers > 0 {
            program::job_image().await;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let disk = match self.disk {
            Some(size) => Some(SmallDisk::mount(folder.path().join("data"), size)?),
            None => None,
        };
        Some(Stack::start(self, turn, folder, disk).await)
    }
}

/// A worker of a [`Stack`].
#[derive(Debug)]
pub struct Worker {
    pub name: String,
    /// Its worker-files, as the host sees it.
    pub files: PathBuf,
    pub program: Program,
}

/// A running master with its workers. Dropping it kills them and removes their containers.
#[derive(Debug)]
pub struct Stack {
    pub api: Api,
    pub workers: Vec<Worker>,
    pub port: u16,
    master: Program,
    /// Of all workers that there ever were.
    names: Vec<String>,
    plan: Plan,
    disk: Option<SmallDisk>,
    folder: TempDir,
    _turn: Turn,
}

/// The right to use the engine, and a good part of the machine, until it is dropped.
pub type Turn = SemaphorePermit<'static>;

/// Waits for a turn. A [`Stack`] takes one by itself.
pub async fn turn() -> Turn {
    TURNS.acquire().await.expect("the semaphore is never closed")
}

/// A name that no other worker of this engine has.
pub fn unique_name(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{what}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
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
            stack.api = stack.api.clone().with_token(&admin.expect("the master has made it"));
        }
        for _ in 0..stack.plan.workers {
            stack.start_worker();
        }
        stack.workers_are_online().await;
        stack
    }

    /// One more worker, online on return.
    pub async fn add_worker(&mut self) {
        self.start_worker();
        self.workers_are_online().await;
    }

    /// Takes the first worker out of the stack, still running.
    ///
    /// # Panics
    /// When the stack has no workers.
    pub fn take_worker(&mut self) -> Worker {
        self.workers.remove(0)
    }

    /// A new process for the first worker, under its name, after [`Program::kill`].
    ///
    /// # Panics
    /// When the stack has no workers.
    pub async fn restart_worker(&mut self) {
        let name = self.workers.remove(0).name;
        let (program, files) = self.start_program(&name);
        self.workers.insert(0, Worker { name, files, program });
        self.workers_are_online().await;
    }

    fn start_worker(&mut self) {
        let name = unique_name("system-test");
        let (program, files) = self.start_program(&name);
        self.names.push(name.clone());
        self.workers.push(Worker { name, files, program });
    }

    fn start_program(&self, name: &str) -> (Program, PathBuf) {
        let folder = if self.plan.shared_files { "shared-files" } else { name };
        let files = worker_files(self.folder.path().join(folder), self.plan.owner);
        let mut command = program::command(["worker"]);
        command
            .env("ORCHESTRA_URL", self.api.url(""))
            .env("ORCHESTRA_WORKER_NAME", name)
            .env("ORCHESTRA_WORKER_FILES", &files)
            .env("ORCHESTRA_SLOTS", self.plan.slots.to_string())
            .env("ORCHESTRA_LOG", "info")
            .envs(self.plan.settings.iter().map(|(name, value)| (name, value)));
        if self.plan.tokens {
            command.env("ORCHESTRA_TOKEN_FILE", self.token_file("worker"));
        }
        let log = self.folder.path().join(format!("{name}.log"));
        (Program::start(name, command, log), files)
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

    async fn workers_are_online(&mut self) {
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

    /// The worker-files of the first worker.
    ///
    /// # Panics
    /// When the stack has no workers.
    pub fn files(&self) -> &Path {
        &self.workers[0].files
    }

    /// What the master and each worker hold of the machine's memory.
    pub fn memory(&self) -> Vec<Memory> {
        let workers = self.workers.iter().map(|worker| &worker.program);
        std::iter::once(&self.master).chain(workers).map(Program::memory).collect()
    }

    /// The folder that goes with the stack.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The disk of the master's data.
    ///
    /// # Panics
    /// When the plan had none.
    pub fn disk(&self) -> &SmallDisk {
        self.disk.as_ref().expect("the plan has a disk")
    }

    /// The folder of the master's data.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The file with the token of a role, in a stack [`Plan::with_tokens`].
    pub fn token_file(&self, role: &str) -> PathBuf {
        self.folder.path().join("tokens").join(role).join("token")
    }

    /// What the master has printed so far.
    pub fn master_printed(&self) -> String {
        self.master.printed()
    }

    /// SIGKILL for the master; everything that it had not stored is lost.
    pub fn kill_master(&mut self) {
        self.master.kill();
    }

    /// A new master on the port and the data of the killed one.
    pub async fn restart_master(&mut self) {
        self.master = start_master(&self.plan, self.port, self.folder.path());
        self.master_is_ready().await;
    }

    /// `orchestra` with these arguments, told where this master is.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program::command(arguments);
        command.env("ORCHESTRA_URL", self.api.url("")).current_dir(self.folder.path());
        command
    }

    /// Runs [`Stack::command`] to its end.
    pub async fn cli(&self, arguments: &[&str]) -> Ran {
        program::run(self.command(arguments), wait::JOB).await
    }

    /// SIGTERM for all, workers first; each must end well and no container may be left.
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

/// A worker-files folder with Hello.cpp in it, all of it this owner's.
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
