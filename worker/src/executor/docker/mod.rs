//! Runs each attempt in a container of its own. Only this folder talks to the container engine, and
//! none of the engine's types leave it.
//!
//! * `prepare` does everything that comes before a job runs.
//! * `create` builds the request for a job's container, with all of its confinement. `template`
//!   makes sandboxes from such requests, and `pool` makes some of them ahead of their jobs.
//! * `container` owns one container and removes it on every path. `name` encodes the owner of a
//!   container in its name, and `sweep` removes what earlier processes of this worker left.
//! * `taken` finds out which attempt took a container that was made ahead of its job. `remains`
//!   finds what an earlier process left of an attempt and continues it. `resume_point` is the place
//!   in the attempt's log where this process resumes.
//! * `session` is a started sandbox, PID 1 of each container. `converse` talks to it until its job
//!   has ended, `deliver` sends it the job's files, `event_stream` decodes what it says, `reattach`
//!   attaches to it again when the stream breaks, `volume` brings the sandbox program into the
//!   container, and `ending` turns the end into an outcome.
//! * `environment` builds the environment of a job's command, `masks` lists the values to hide in
//!   its log.
//! * `artifacts` covers a job's changes to its working folder and the files to keep, `archive`
//!   reads such a file from the engine.
//! * `boot` is the clock that a worker may share with its containers.
//! * `network` is the network of jobs that ask for one, `wall` blocks what they must not reach on
//!   it.
//! * `files`, `paths` and `disk_space` handle worker-files, `workspace` handles the folder of a job
//!   with a private workspace, `images` handles job images, and `engine` wraps the engine's API.
//! * `offer` tells the master what this worker offers to jobs, `stats` collects the worker's other
//!   numbers.

mod archive;
mod artifacts;
mod boot;
mod container;
mod converse;
mod create;
mod deliver;
mod disk_space;
mod ending;
mod engine;
mod environment;
mod event_stream;
mod files;
pub(crate) mod images;
mod masks;
mod name;
mod network;
mod offer;
mod paths;
mod pool;
mod prepare;
mod reattach;
mod remains;
mod resume_point;
mod session;
mod stats;
mod sweep;
mod taken;
mod template;
#[cfg(test)]
mod tests;
mod volume;
mod wall;
mod workspace;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use orchestra_contracts::{
    AttemptNo, JobId, Outcome, Resources,
    worker::{Offer, Stats},
};
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use self::{
    container::Keeper,
    disk_space::DiskSpace,
    engine::CallLimits,
    images::Images,
    pool::{Pool, Times},
    prepare::{HandedOver, stop_before_start},
    stats::Looked,
    template::SandboxTemplate,
    volume::Volume,
    wall::Wall,
};
pub(crate) use self::{
    engine::{Engine, EngineError},
    files::{WorkerFiles, prepare as prepare_files, user_of_folder},
};
use crate::{
    Config, WorkerError,
    config::{JobUser, Limits},
    control::{Orders, Stop, stopped},
    executor::{End, Executor, Left, RunEvent, RunSpec, Trouble},
};

/// How long [`Executor::close`] waits for pending removals. Only a hanging engine takes longer.
const CLOSE: Duration = Duration::from_secs(30);
/// After this long without an answer from the engine, an attempt that has not begun is given up, so
/// that another worker can take it.
const NOT_BEGUN: Duration = Duration::from_secs(30);

/// Runs attempts on one container engine.
pub(crate) struct DockerExecutor {
    keeper: Keeper,
    images: Images,
    template: Arc<SandboxTemplate>,
    pool: Arc<Pool>,
    default_image: String,
    worker_files: WorkerFiles,
    disk_space: DiskSpace,
    /// Why no job can start: the engine is away, or disk space is short.
    trouble: Arc<watch::Sender<Option<Trouble>>>,
    offer: Arc<watch::Sender<Option<Offer>>>,
    looked: Arc<Looked>,
    grace: Duration,
    /// Environment variables that images define, by image id.
    environments: Mutex<HashMap<String, Arc<[String]>>>,
    /// Stops the background tasks.
    background: CancellationToken,
}

impl DockerExecutor {
    /// Connects to the engine and prepares worker-files.
    pub(crate) async fn start(config: &Config) -> Result<Self, WorkerError> {
        Self::start_with(config, Parts::default()).await
    }

    async fn start_with(config: &Config, parts: Parts) -> Result<Self, WorkerError> {
        let Parts { volume, times, process, calls } = parts;
        let mut engine = Engine::connect(&config.engine).await?;
        engine.limits = calls;
        check_architecture(&engine).map_err(WorkerError::Engine)?;
        let worker_files =
            prepare_files(&config.worker_files, config.sandbox.job_user, engine.socket())
                .map_err(WorkerError::WorkerFiles)?;
        let files =
            paths::on_host(&engine, &worker_files.path).await.map_err(WorkerError::WorkerFiles)?;
        let images = images_of(&engine, config);
        let keeper = Keeper::new(engine, config.name.clone(), process);
        let background = CancellationToken::new();
        let disk_space = DiskSpace::new(worker_files.path.clone(), config.min_free_files);
        let trouble = Arc::new(watch::Sender::new(None));
        let (until, watched) = (background.clone(), keeper.clone());
        let (space, told) = (disk_space.clone(), trouble.clone());
        let offer = offer::of(&config.sandbox, worker_files.user, &images).await;
        let (folders, offered) = (images.clone(), offer.clone());
        let template = Arc::new(SandboxTemplate {
            keeper: keeper.clone(),
            volume,
            user: worker_files.user,
            files,
            settings: config.sandbox.clone(),
            wall: Wall::new(&config.url, &config.sandbox.deny_networks),
        });
        let folder = worker_files.path.clone();
        let pool =
            Pool::new(config, times, template.clone(), images.clone(), disk_space.clone(), folder);
        let pool = Arc::new(pool);
        let tended = pool.clone();
        let looked = Arc::<Looked>::default();
        let (looking, settings) = (looked.clone(), config.clone());
        let local = keeper.engine.socket().is_some();
        keeper.removals.spawn(async move {
            let all = async {
                tokio::join!(
                    watched.health.watch(&watched.engine),
                    space.watch(),
                    space.tell(&watched.health, &told),
                    offer::watch_folders(&folders, &offered),
                    folders.prune_often(),
                    async {
                        if local {
                            folders.listen().await;
                        }
                    },
                    looking.watch(&folders, &settings)
                )
            };
            Box::pin(until.run_until_cancelled(all)).await
        });
        let end = background.clone();
        keeper.removals.spawn(async move { Box::pin(tended.tend(&end)).await });
        Ok(Self {
            background,
            keeper,
            images,
            template,
            pool,
            default_image: config.default_image.clone(),
            worker_files,
            disk_space,
            trouble,
            offer,
            looked,
            grace: config.grace.0,
            environments: Mutex::default(),
        })
    }

    /// The user and limits of a job that asks for these resources. The error is the sentence that
    /// refuses the job.
    pub(crate) fn held_to(&self, wanted: &Resources) -> Result<HeldTo, String> {
        let SandboxTemplate { user, settings, .. } = &*self.template;
        let file_size = settings.file_size.0;
        Ok(HeldTo { user: *user, limits: settings.limits(wanted)?, file_size })
    }

    /// The engine and its version, for people.
    pub(crate) fn describe(&self) -> String {
        self.keeper.engine.version().to_owned()
    }
}

/// Settings that are the same for every worker, but that tests override.
struct Parts {
    volume: Volume,
    times: Times,
    /// See `sweep.rs`.
    process: String,
    calls: CallLimits,
}

impl Default for Parts {
    fn default() -> Self {
        let (volume, times, calls) = (Volume::new(), Times::default(), engine::LIMITS);
        Self { volume, times, process: sweep::this_process(), calls }
    }
}

/// The user that a job runs as, and its limits.
pub(crate) struct HeldTo {
    pub(crate) user: JobUser,
    pub(crate) limits: Limits,
    /// In bytes.
    pub(crate) file_size: u64,
}

impl Drop for DockerExecutor {
    fn drop(&mut self) {
        self.background.cancel();
    }
}

#[async_trait]
impl Executor for DockerExecutor {
    async fn run(
        &self,
        spec: RunSpec,
        mut orders: watch::Receiver<Orders>,
        events: mpsc::Sender<RunEvent>,
    ) -> End {
        if self.keeper.health.trouble().is_some() || self.disk_space.is_short() {
            // The engine went away, or disk space ran short, just as the job was claimed.
            return Outcome::HandedBack.into();
        }
        let _job = self.pool.job();
        let lease = orders.clone();
        let HandedOver { sandbox, ran, limits, image, start } = loop {
            let prepared = tokio::select! {
                prepared = self.prepare(&spec, &lease, &events) => prepared,
                // Dropping `prepare` also removes what it has made so far.
                () = stopped(&mut orders, Stop::Cancel) => Err(stop_before_start(&orders)),
                Trouble { reason, .. } = self.keeper.health.dead_for(NOT_BEGUN) => {
                    Err(Outcome::CouldNotStart { reason })
                }
            };
            // From here on the job may run, so nothing may be dropped any more.
            match prepared {
                Err(outcome) => return outcome.into(),
                Ok(prepared) => {
                    if let Some(it) = self.hand_over(&spec, prepared, &orders).await {
                        break it;
                    }
                    tracing::debug!("a warm sandbox has gone, and gets no job");
                }
            }
        };
        // The receiver outlives the attempt.
        let _ = events.send(RunEvent::Made(ran)).await;
        let mut end = sandbox.run(&spec, limits, orders, events).await;
        if let Some(usage) = &mut end.usage {
            usage.image_ms = Some(image.as_millis() as u64);
            usage.start_ms = Some(start.as_millis() as u64);
        }
        end
    }

    async fn left_of(&self, job: JobId, attempt: AttemptNo) -> Left {
        self.find(job, attempt).await.unwrap_or_else(|error| {
            tracing::warn!(%job, %attempt, "could not look for its container: {error}");
            Left::NotOurs
        })
    }

    async fn tidy(&self) {
        self.keeper.sweep_now().await;
        let (until, sweeper) = (self.background.clone(), self.keeper.clone());
        let sweep = async move { Box::pin(until.run_until_cancelled(sweeper.sweep_often())).await };
        self.keeper.removals.spawn(sweep);
    }

    async fn ready(&self) {
        while !(self.keeper.health.look(&self.keeper.engine).await && self.disk_space.look().await)
        {
            sleep(Duration::from_secs(1)).await;
        }
    }

    fn health(&self) -> watch::Receiver<Option<Trouble>> {
        self.trouble.subscribe()
    }

    fn offer(&self) -> watch::Receiver<Option<Offer>> {
        self.offer.subscribe()
    }

    fn stats(&self) -> Stats {
        self.looked.stats(&self.keeper.engine, &self.pool)
    }

    async fn close(&self) {
        self.background.cancel();
        self.pool.close();
        self.keeper.removals.close();
        let tidied = async {
            self.keeper.removals.wait().await;
            // The engine may have created a container late, for an earlier process.
            self.keeper.sweep_now().await;
        };
        if timeout(CLOSE, tidied).await.is_err() {
            tracing::warn!("some containers could not be removed; the next start will do it");
        }
    }
}

/// The job images of an engine, from the images folder that the settings name.
pub(crate) fn images_of(engine: &Engine, config: &Config) -> Images {
    Images::new(engine.docker(), config.images.clone(), config.image_rules.clone())
}

impl From<EngineError> for WorkerError {
    fn from(error: EngineError) -> Self {
        Self::Engine(error.to_string())
    }
}

/// The sandbox program is built for one architecture and cannot run on another.
pub(crate) fn check_architecture(engine: &Engine) -> Result<(), String> {
    let (theirs, ours) = (engine.architecture(), std::env::consts::ARCH);
    if theirs == ours {
        return Ok(());
    }
    Err(format!(
        "the engine at {} runs {theirs} and this worker was built for {ours}: run the worker on the engine's own machine",
        engine.address()
    ))
}
