//! What happens before a job runs: its plan, its image, its sandbox, its environment.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use orchestra_contracts::{Network, Outcome, Ran, Size, Workspace, limits};
use orchestra_sandbox::protocol::{self, Lease};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    DockerExecutor,
    create::{Plan, WORKDIR},
    engine::EngineError,
    environment::{defaults_beside, environment},
    images::{ImageError, ReadyImage},
    masks, name,
    session::{Limits, Made, Sandbox, StartError},
    wall::Outside,
};
use crate::{
    config::SandboxConfig,
    control::{Orders, Stop},
    executor::{RunEvent, RunSpec},
};

/// For jobs from a master that fills in no timeout.
const DEFAULT_TIMEOUT: Duration = Duration::from_hours(1);
/// Ten years. Anything longer overflows clocks.
const LONGEST_TIMEOUT: Duration = Duration::from_hours(10 * 365 * 24);
/// How many lines of an image build may wait to be passed on.
const PROGRESS: usize = 64;
/// Only the job's user may write what it creates, and everybody may read it.
const UMASK: u32 = 0o022;

/// A sandbox that is ready for its job.
pub(super) struct Prepared {
    pub(super) sandbox: Sandbox,
    /// Environment variables of the image.
    environment: Arc<[String]>,
    ran: Box<Ran>,
    /// How long the image and the start took.
    image: Duration,
    start: Duration,
}

/// A sandbox that has its job.
pub(super) struct HandedOver {
    pub(super) sandbox: Sandbox,
    pub(super) limits: Limits,
    pub(super) ran: Box<Ran>,
    /// As in [`Prepared`].
    pub(super) image: Duration,
    pub(super) start: Duration,
}

impl DockerExecutor {
    /// Does everything up to a sandbox that is ready. The error is the outcome of the attempt.
    pub(super) async fn prepare(
        &self,
        spec: &RunSpec,
        orders: &watch::Receiver<Orders>,
        events: &mpsc::Sender<RunEvent>,
    ) -> Result<Prepared, Outcome> {
        let began = Instant::now();
        let mut plan = self.plan(spec)?;
        if plan.workspace == Workspace::Shared {
            self.worker_files.mend();
        }
        let image = self.image(spec, events).await?;
        let found = Instant::now();
        let environment = self.environment_of(&image).await.map_err(could_not_start)?;
        if spec.spec.network == Network::Bridge {
            plan.network = Some(self.outside(&image).await.map_err(could_not_start)?);
        }
        // This is the fence for a worker that dies before it has handed over the job.
        plan.idle = orders.borrow().until.saturating_duration_since(Instant::now());
        let name = spec.spec.image.as_ref().unwrap_or(&self.default_image);
        let sandbox = match self.pool.take(&plan, (name, &image.id)).await {
            Some(sandbox) => sandbox,
            None => self.start_cold(&plan, &image).await.map_err(could_not_start)?,
        };
        let ran = Box::new(ran(&plan, &image, &environment));
        let (image, start) = (found - began, found.elapsed());
        Ok(Prepared { sandbox, environment, ran, image, start })
    }

    /// Hands the job to its sandbox. `None` if a sandbox made ahead was gone before it took the
    /// job: nothing of the job has begun then, and the attempt continues as if that sandbox had
    /// never existed.
    pub(super) async fn hand_over(
        &self,
        spec: &RunSpec,
        Prepared { mut sandbox, environment, ran, image, start }: Prepared,
        orders: &watch::Receiver<Orders>,
    ) -> Option<HandedOver> {
        let until = orders.borrow().until;
        let job = self.job(spec, &environment, until);
        let limits = Limits { timeout: job.timeout, grace: job.grace };
        if !sandbox.hand_over(spec, job, orders.clone()).await {
            return None;
        }
        if sandbox.made == Made::Ahead {
            self.pool.is_taken();
        }
        Some(HandedOver { sandbox, limits, ran, image, start })
    }

    /// The plan for the job's container, or the refusal. The image and the lease are not needed
    /// yet.
    fn plan<'a>(&'a self, spec: &RunSpec) -> Result<Plan<'a>, Outcome> {
        let refuse = |reason| Outcome::Refused { reason };
        let settings = &self.template.settings;
        let limits = settings.limits(&spec.spec.resources).map_err(refuse)?;
        if spec.spec.network != Network::None && !settings.allow_network {
            return Err(refuse(
                "it asks for a network, and this worker's operator allows none".to_owned(),
            ));
        }
        let whose = Some((spec.job, spec.attempt));
        Ok(Plan { whose, workspace: spec.spec.workspace, ..self.template.plan(limits) })
    }

    /// The job's image. The lines of its build go into the job's log.
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
            error @ (ImageError::Unknown { .. }
            | ImageError::NotAllowed(_)
            | ImageError::Broken { .. }) => Outcome::Refused { reason: error.to_string() },
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

    /// Starts a sandbox for this job. Tries again once if something it needs was just removed.
    async fn start_cold(&self, plan: &Plan<'_>, image: &ReadyImage) -> Result<Sandbox, StartError> {
        let _cold = self.pool.cold_start();
        match self.start_sandbox(plan, image).await {
            Err(error) if error.is_of_what_went() => {
                tracing::debug!("starting a sandbox again: {error}");
                self.start_sandbox(plan, image).await
            }
            started => started,
        }
    }

    /// What a job with a network can reach.
    async fn outside(&self, image: &ReadyImage) -> Result<Outside, StartError> {
        match self.template.outside(&image.id).await {
            Err(error) if error.is_of_what_went() => {
                tracing::debug!("looking at the networks again: {error}");
                self.template.outside(&image.id).await
            }
            found => found,
        }
    }

    async fn start_sandbox(
        &self,
        plan: &Plan<'_>,
        image: &ReadyImage,
    ) -> Result<Sandbox, StartError> {
        let (job, attempt) = plan.whose.expect("it is for a job");
        self.template.start(name::of_attempt(job, attempt), plan, &image.id).await
    }

    /// The message that tells the sandbox what to run.
    pub(super) fn job(&self, spec: &RunSpec, image: &[String], until: Instant) -> protocol::Run {
        let (log_head, log_tail) = kept_of_log(&self.template.settings, spec.spec.max_log);
        protocol::Run {
            attempt: name::told(spec.job, spec.attempt),
            script: spec.spec.command.clone().into_bytes(),
            env: environment(image, spec),
            workdir: WORKDIR.into(),
            stdin: spec.spec.stdin.clone().unwrap_or_default().into_bytes(),
            timeout: timeout_of(spec),
            grace: self.grace,
            lease: Lease::of(until.saturating_duration_since(Instant::now())),
            log_head,
            log_tail,
            umask: UMASK,
            files: spec.spec.files.len() as u64,
            masks: masks::of(spec.spec.secrets.values()),
            change_limit: limits::CHANGES as u64,
            artifact_limit: limits::ARTIFACTS as u64,
            artifacts: spec.spec.artifacts.iter().map(|pattern| pattern.clone().into()).collect(),
        }
    }
}

/// How many bytes of a log's head and tail are kept. If the job sets its own limit, a fifth of it
/// goes to the tail, which is where the log says what went wrong.
fn kept_of_log(config: &SandboxConfig, most: Option<Size>) -> (u64, u64) {
    let (head, tail) = (config.log_head.0, config.log_tail.0);
    most.map_or((head, tail), |most| {
        let tail = tail.min(most.0 / 5);
        (head.min(most.0 - tail), tail)
    })
}

/// The facts that a person needs to run the same thing by hand.
fn ran(plan: &Plan<'_>, image: &ReadyImage, environment: &[String]) -> Ran {
    let limits = &plan.limits;
    let shared = plan.workspace == Workspace::Shared;
    Ran {
        image: image.reference.clone(),
        image_id: image.id.clone(),
        digest: image.digest.clone(),
        user: plan.user.to_string(),
        cpus: limits.cpus,
        memory: limits.memory,
        pids: limits.pids,
        tmp: limits.tmp,
        file_size: Size(plan.file_size),
        files: shared.then(|| plan.files.to_string()),
        runtime: plan.runtime.map(str::to_owned),
        env: defaults_beside(environment),
    }
}

pub(super) fn timeout_of(spec: &RunSpec) -> Duration {
    spec.spec.timeout.map_or(DEFAULT_TIMEOUT, |timeout| timeout.0).min(LONGEST_TIMEOUT)
}

pub(super) fn could_not_start(error: impl std::fmt::Display) -> Outcome {
    Outcome::CouldNotStart { reason: error.to_string() }
}

pub(super) fn stop_before_start(orders: &watch::Receiver<Orders>) -> Outcome {
    match orders.borrow().stop {
        Some(Stop::HandBack) => Outcome::HandedBack,
        Some(Stop::Lost) => Outcome::Lost,
        Some(Stop::Cancel) | None => Outcome::Cancelled,
    }
}
