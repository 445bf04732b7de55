//! Our own side: a master with a fresh data folder and, for rows that run jobs, one worker.

use std::{
    net::TcpListener,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use orchestra_client::Client;
use orchestra_contracts::{Job, JobSpec, JobStatus};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{
    error::BenchError,
    program::{Process, repository},
};

/// Owner of worker-files when root measures: any user but root.
const ORDINARY_USER: u32 = 1000;
/// Time limit for a program to start.
const START: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(20);

/// Environment variables.
pub(crate) type Settings = Vec<(&'static str, String)>;

/// The configuration of a stack.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Jobs that run at once. With none, there is no worker.
    pub(crate) slots: u32,
    /// Number of warm sandboxes, both minimum and maximum.
    pub(crate) warm: u32,
    /// Whether the worker is the separate program `orchestra-worker`.
    pub(crate) alone: bool,
    /// Additional environment variables for both programs.
    pub(crate) settings: Settings,
}

impl Plan {
    /// A master without a worker.
    pub(crate) fn master() -> Self {
        Self { slots: 0, warm: 0, alone: false, settings: Vec::new() }
    }

    pub(crate) fn worker(slots: u32, warm: u32) -> Self {
        Self { slots, warm, alone: false, settings: Vec::new() }
    }
}

/// A running master and its worker. Dropping it ends both, worker first.
#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) client: Client,
    pub(crate) port: u16,
    pub(crate) worker: Option<Process>,
    pub(crate) master: Process,
    /// The worker's name.
    pub(crate) name: String,
    orchestra: PathBuf,
    settings: Settings,
    folder: TempDir,
}

impl Stack {
    pub(crate) async fn start(orchestra: &Path, plan: &Plan) -> Result<Self, BenchError> {
        let folder = tempfile::tempdir().map_err(BenchError::io("a temporary folder"))?;
        let port = free_port()?;
        let master = start_master(orchestra, port, folder.path(), &plan.settings)?;
        let client = Client::new(&format!("http://127.0.0.1:{port}"))?;
        let name = format!("bench-{}-{port}", std::process::id());
        let orchestra = orchestra.to_owned();
        let settings = plan.settings.clone();
        let mut stack =
            Self { client, port, worker: None, master, name, orchestra, settings, folder };
        stack.is_up().await?;
        if plan.slots > 0 {
            stack.start_worker(plan)?;
            stack.finish(&JobSpec::new("true")).await?;
        }
        Ok(stack)
    }

    async fn is_up(&mut self) -> Result<(), BenchError> {
        let limit = Instant::now() + START;
        while self.client.healthy().await.is_err() {
            if self.master.has_ended() || Instant::now() > limit {
                let log = std::fs::read_to_string(self.folder.path().join("master.log"));
                let log = log.unwrap_or_default();
                return Err(BenchError::unexpected(format!("the master does not start: {log}")));
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    fn start_worker(&mut self, plan: &Plan) -> Result<(), BenchError> {
        let files = self.folder.path().join("files");
        make_files(&files)?;
        let mut command = if plan.alone {
            command(&self.orchestra.with_file_name("orchestra-worker"), None)
        } else {
            command(&self.orchestra, Some("worker"))
        };
        command
            .env("ORCHESTRA_URL", self.client.url())
            .env("ORCHESTRA_WORKER_NAME", &self.name)
            .env("ORCHESTRA_WORKER_FILES", files)
            .env("ORCHESTRA_SLOTS", plan.slots.to_string())
            .env("ORCHESTRA_WARM", plan.warm.to_string())
            .env("ORCHESTRA_MAX_WARM", plan.warm.to_string())
            .envs(plan.settings.iter().map(|(name, value)| (name, value)));
        self.worker = Some(Process::start(command, &self.folder.path().join("worker.log"))?);
        Ok(())
    }

    /// Path of the master's database.
    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("data/orchestra.db")
    }

    /// Stops the master, runs `work` on its database, and starts another master on it.
    pub(crate) async fn between_masters<T>(
        mut self,
        work: impl FnOnce(&Path) -> Result<T, BenchError>,
    ) -> Result<(Self, T), BenchError> {
        let database = self.database();
        let Self { worker, master, .. } = &mut self;
        drop(worker.take());
        master.end();
        let done = work(&database)?;
        self.port = free_port()?;
        self.client = Client::new(&format!("http://127.0.0.1:{}", self.port))?;
        self.master = start_master(&self.orchestra, self.port, self.folder.path(), &self.settings)?;
        self.is_up().await?;
        Ok((self, done))
    }

    /// Submits a job that must succeed, and waits for its end.
    pub(crate) async fn finish(&self, spec: &JobSpec) -> Result<Job, BenchError> {
        let job = self.client.submit(spec).await?;
        let job = self.client.wait(job.id).await?;
        if job.status == JobStatus::Completed {
            return Ok(job);
        }
        Err(BenchError::unexpected(format!("job {} is {}: {:?}", job.id, job.status, job.outcome)))
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // The worker must end first: it sends its last messages to the master.
        drop(self.worker.take());
    }
}

/// Makes a folder for jobs that does not belong to root.
pub(crate) fn make_files(folder: &Path) -> Result<(), BenchError> {
    let what = || folder.display().to_string();
    std::fs::create_dir_all(folder).map_err(BenchError::io(what()))?;
    if rustix::process::geteuid().is_root() {
        chown(folder, Some(ORDINARY_USER), Some(ORDINARY_USER)).map_err(BenchError::io(what()))?;
    }
    Ok(())
}

pub(crate) fn start_master(
    orchestra: &Path,
    port: u16,
    folder: &Path,
    settings: &Settings,
) -> Result<Process, BenchError> {
    let mut command = command(orchestra, Some("master"));
    command
        .env("ORCHESTRA_LISTEN", format!("127.0.0.1:{port}"))
        .env("ORCHESTRA_DATA", folder.join("data"))
        .envs(settings.iter().map(|(name, value)| (name, value)));
    Process::start(command, &folder.join("master.log"))
}

/// The program without any setting of the person who measures.
fn command(program: &Path, what: Option<&str>) -> Command {
    let mut command = Command::new(program);
    command.args(what);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ORCHESTRA_") {
            command.env_remove(name);
        }
    }
    command
        .env("ORCHESTRA_LOG", "warn")
        .env("ORCHESTRA_IMAGES", repository().join("images"))
        .current_dir(repository());
    command
}

pub(crate) fn free_port() -> Result<u16, BenchError> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(BenchError::io("a free port"))?;
    Ok(listener.local_addr().map_err(BenchError::io("a free port"))?.port())
}
