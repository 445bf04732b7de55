//! Runs each attempt in a container of its own. Only this folder speaks to the
//! container engine, and none of its types leaves it.
//!
//! * `create` is the one builder of a job's container: what holds a job in.
//! * `container` is one container, removed on every path; `sweep` removes what
//!   earlier processes of this worker left.
//! * `session` speaks with the sandbox, PID 1 of each container; `volume` brings
//!   its program there; `ending` turns the end into an outcome.
//! * `files` and `paths` are about worker-files, `images` about job images,
//!   `engine` about the engine's API.

mod container;
mod create;
mod ending;
mod engine;
mod environment;
mod files;
pub(crate) mod images;
mod paths;
mod session;
mod sweep;
#[cfg(test)]
mod tests;
mod volume;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use orchestra_contracts::{Network, Outcome};
use orchestra_sandbox::protocol;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use self::{
    container::{Container, Keeper},
    create::{Plan, WORKDIR},
    environment::environment,
    images::{ImageError, Images, ReadyImage},
    session::{Sandbox, StartError},
    volume::Volume,
};
pub(crate) use self::{
    engine::{Engine, EngineError},
    files::{WorkerFiles, prepare as prepare_files, user_of_folder},
};
use crate::{
    Config, WorkerError,
    config::SandboxConfig,
    control::{Orders, Stop, stopped},
    executor::{End, Executor, RunEvent, RunSpec},
};

/// For jobs of a master that fills in none.
const DEFAULT_TIMEOUT: Duration = Duration::from_hours(1);
/// Ten years: what is longer overflows clocks.
const LONGEST_TIMEOUT: Duration = Duration::from_hours(10 * 365 * 24);
/// Lines of an image's build that wait to be passed on.
const PROGRESS: usize = 64;
/// At the end, so long for removals that are under way. An engine that hangs takes longer.
const CLOSE: Duration = Duration::from_secs(30);
/// What a job writes belongs to its user and can be read by all.
const UMASK: u32 = 0o022;

/// Runs attempts on one container engine.
pub(crate) struct DockerExecutor {
    keeper: Keeper,
    images: Images,
    volume: Volume,
    default_image: String,
    /// worker-files, as the engine's host knows it.
    files: PathBuf,
    worker_files: WorkerFiles,
    sandbox: SandboxConfig,
    grace: Duration,
    /// The environments that images bring, by image id.
    environments: Mutex<HashMap<String, Arc<[String]>>>,
    sweeping: CancellationToken,
}

impl DockerExecutor {
    /// Connects to the engine, prepares worker-files, and removes leftovers.
    pub(crate) async fn start(config: &Config) -> Result<Self, WorkerError> {
        let engine = Engine::connect(&config.engine).await?;
        check_architecture(&engine).map_err(WorkerError::Engine)?;
        let worker_files =
            prepare_files(&config.worker_files, config.sandbox.job_user, engine.socket())
                .map_err(WorkerError::WorkerFiles)?;
        let files =
            paths::on_host(&engine, &worker_files.path).await.map_err(WorkerError::WorkerFiles)?;
        let images = images_of(&engine, config);
        let keeper = Keeper::new(engine, config.name.clone());
        keeper.sweep().await?;
        Ok(Self {
            sweeping: sweep_in_background(&keeper),
            keeper,
            images,
            volume: Volume::new(),
            default_image: config.default_image.clone(),
            files,
            worker_files,
            sandbox: config.sandbox.clone(),
            grace: config.grace.0,
            environments: Mutex::default(),
        })
    }

    /// The engine and its version, for people.
    pub(crate) fn describe(&self) -> String {
        self.keeper.engine.version().to_owned()
    }

    /// Everything up to a sandbox that is ready, or the outcome that it comes to.
    async fn prepare(
        &self,
        spec: &RunSpec,
        events: &mpsc::Sender<RunEvent>,
    ) -> Result<(Sandbox, Arc<[String]>), Outcome> {
        let plan = self.plan(spec)?;
        let image = self.image(spec, events).await?;
        let environment = self.environment_of(&image).await.map_err(could_not_start)?;
        let sandbox = match self.start_sandbox(&plan, &image).await {
            // The volume may have been pruned since it was filled.
            Err(error @ StartError::Engine(EngineError::Refused(_))) => {
                tracing::debug!("starting a sandbox again: {error}");
                self.volume.distrust().await;
                self.start_sandbox(&plan, &image).await
            }
            started => started,
        };
        Ok((sandbox.map_err(could_not_start)?, environment))
    }

    /// What the job may have, or the refusal. The image comes later.
    fn plan<'a>(&'a self, spec: &RunSpec) -> Result<Plan<'a>, Outcome> {
        let refuse = |reason| Outcome::Refused { reason };
        let limits = self.sandbox.limits(&spec.spec.resources).map_err(refuse)?;
        if spec.spec.network != Network::None && !self.sandbox.allow_network {
            return Err(refuse(
                "it asks for a network, and this worker's operator allows none".to_owned(),
            ));
        }
        Ok(Plan {
            labels: self.keeper.labels("job"),
            job: spec.job,
            attempt: spec.attempt,
            user: self.worker_files.user,
            files: &self.files,
            sandbox: self.volume.name(),
            limits,
            network: spec.spec.network,
            runtime: self.sandbox.runtime.as_deref(),
            log_bytes: self.sandbox.log_head.0 + self.sandbox.log_tail.0,
        })
    }

    /// The job's image, with the lines of its build in the job's log.
    async fn image(
        &self,
        spec: &RunSpec,
        events: &mpsc::Sender<RunEvent>,
    ) -> Result<ReadyImage, Outcome> {
        let name = spec.spec.image.as_ref().unwrap_or(&self.default_image);
        let (progress, mut lines) = mpsc::channel::<String>(PROGRESS);
        let pass_on = async {
            while let Some(line) = lines.recv().await {
                // The receiver outlives the attempt.
                let _ = events.send(RunEvent::note(line)).await;
            }
        };
        let (image, ()) = tokio::join!(self.images.ensure(name, progress), pass_on);
        image.map_err(|error| match error {
            error @ ImageError::Unknown { .. } => Outcome::Refused { reason: error.to_string() },
            ImageError::Unavailable { reason } => Outcome::ImageUnavailable { reason },
        })
    }

    async fn environment_of(&self, image: &ReadyImage) -> Result<Arc<[String]>, EngineError> {
        let known = || self.environments.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(environment) = known().get(&image.id) {
            return Ok(environment.clone());
        }
        let config = self.keeper.engine.image(&image.id).await?.config.unwrap_or_default();
        let environment: Arc<[String]> = config.env.unwrap_or_default().into();
        known().insert(image.id.clone(), environment.clone());
        Ok(environment)
    }

    async fn start_sandbox(
        &self,
        plan: &Plan<'_>,
        image: &ReadyImage,
    ) -> Result<Sandbox, StartError> {
        self.volume.ensure(&self.keeper, &image.id).await?;
        let container = self.new_container(plan);
        self.keeper.engine.create(container.name(), plan.request(&image.id)).await?;
        Sandbox::start(container).await
    }

    fn new_container(&self, plan: &Plan<'_>) -> Container {
        let distinct: u32 = rand::random();
        let name = format!("orchestra-{}-{}-{distinct:08x}", plan.job, plan.attempt);
        self.keeper.container(name)
    }

    fn job(&self, spec: &RunSpec, image: &[String], until: Instant) -> protocol::Run {
        let timeout = spec.spec.timeout.map_or(DEFAULT_TIMEOUT, |timeout| timeout.0);
        let timeout = timeout.min(LONGEST_TIMEOUT);
        protocol::Run {
            script: spec.spec.command.clone().into_bytes(),
            env: environment(image, spec),
            workdir: WORKDIR.into(),
            stdin: spec.spec.stdin.clone().unwrap_or_default().into_bytes(),
            timeout,
            grace: self.grace,
            ttl: until.saturating_duration_since(Instant::now()),
            log_head: self.sandbox.log_head.0,
            log_tail: self.sandbox.log_tail.0,
            umask: UMASK,
        }
    }
}

impl Drop for DockerExecutor {
    fn drop(&mut self) {
        self.sweeping.cancel();
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
        let prepared = tokio::select! {
            prepared = self.prepare(&spec, &events) => prepared,
            // What was made so far is dropped, and with it removed.
            () = stopped(&mut orders, Stop::Cancel) => Err(stop_before_start(&orders)),
        };
        match prepared {
            Err(outcome) => outcome.into(),
            Ok((sandbox, image)) => {
                let until = orders.borrow().until;
                let job = self.job(&spec, &image, until);
                sandbox.run(job, self.grace, orders, events).await
            }
        }
    }

    async fn ready(&self) {
        let mut unwell = false;
        while let Err(error) = self.keeper.engine.ping().await {
            if !std::mem::replace(&mut unwell, true) {
                tracing::warn!("claiming no jobs until the engine is well again: {error}");
            }
            sleep(Duration::from_secs(1)).await;
        }
        if unwell {
            tracing::info!("the engine is well again");
        }
    }

    async fn close(&self) {
        self.sweeping.cancel();
        self.keeper.removals.close();
        if timeout(CLOSE, self.keeper.removals.wait()).await.is_err() {
            tracing::warn!("some containers could not be removed; the next start will do it");
        }
    }
}

fn stop_before_start(orders: &watch::Receiver<Orders>) -> Outcome {
    match orders.borrow().stop {
        Some(Stop::HandBack) => Outcome::HandedBack,
        Some(Stop::Lost) => Outcome::Lost,
        Some(Stop::Cancel) | None => Outcome::Cancelled,
    }
}

fn could_not_start(error: impl std::fmt::Display) -> Outcome {
    Outcome::CouldNotStart { reason: error.to_string() }
}

/// The images of an engine, out of the folder that the settings name.
pub(crate) fn images_of(engine: &Engine, config: &Config) -> Images {
    Images::new(engine.docker(), config.images.clone())
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

/// Ends when the answer is cancelled.
fn sweep_in_background(keeper: &Keeper) -> CancellationToken {
    let (sweeping, sweeper) = (CancellationToken::new(), keeper.clone());
    let until = sweeping.clone();
    keeper.removals.spawn(async move { until.run_until_cancelled(sweeper.sweep_often()).await });
    sweeping
}
