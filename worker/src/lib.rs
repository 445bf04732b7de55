//! A worker: claims jobs from a master and runs each in a sandboxed container.
//!
//! ```text
//! claim     slots, long poll, heartbeat, deadlines        knows no Docker
//!   |
//! run       one attempt: prepare, start, run, drain, report
//!   |    \
//! executor  outbox    a container and its PID 1; uploads of the log and of the artifacts
//!   |
//! executor/docker     the only place that talks to the engine
//! ```
//! A worker never reads the database and opens no port. It discards nothing that the master has not
//! acknowledged.

mod artifacts;
mod claim;
mod clock;
mod config;
mod control;
mod credentials;
mod doctor;
mod executor;
mod labels;
mod master;
mod outbox;
mod probe;
mod refill;
mod run;
#[cfg(test)]
mod testing;
mod trace;
mod uploads;
#[cfg(test)]
mod with_master;

use std::sync::Arc;

use futures::future::BoxFuture;
use orchestra_contracts::worker::Registration;
use tokio_util::sync::CancellationToken;

use crate::{
    claim::{Terms, Worker},
    executor::{
        Executor,
        docker::{DockerExecutor, Engine, images_of},
    },
};
/// The parts of a worker, for a program with its own [`Executor`]: the simulation
/// runs the real worker with a simulated engine.
pub mod parts {
    pub use crate::{
        claim::{Terms, Worker},
        control::{Orders, Stop},
        executor::{
            End, Executor, Kept, Left, Remains, RunEvent, RunSpec, Trouble,
            artifacts::{ArtifactFile, ArtifactSource, ReadError},
        },
    };
}

pub use crate::{
    config::{Config, ImagesConfig, JobUser, Limits, SandboxConfig, WarmConfig},
    credentials::Credentials,
    doctor::{Check, checks, clock_check},
    executor::docker::images::{ImageError, ImageStatus, Images, ReadyImage, StaleImage, step_of},
    probe::sandbox_checks,
};

/// Why a worker cannot start. Each text is a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error("{0}")]
    Engine(String),
    #[error("{0}")]
    WorkerFiles(String),
    #[error("{0}")]
    Master(String),
}

/// Runs a worker until `shutdown` is cancelled. After that, running jobs may continue for the grace
/// time; the rest is handed back.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), WorkerError> {
    run_until(config, shutdown, CancellationToken::new()).await
}

/// Like [`run()`], but `hard` ends the grace time early.
///
/// Boxed, because otherwise every program with a worker in it would compile all of it again.
pub fn run_until(
    config: Config,
    shutdown: CancellationToken,
    hard: CancellationToken,
) -> BoxFuture<'static, Result<(), WorkerError>> {
    Box::pin(work(config, shutdown, hard))
}

async fn work(
    config: Config,
    shutdown: CancellationToken,
    hard: CancellationToken,
) -> Result<(), WorkerError> {
    let client = config.credentials.client(&config.url);
    let client = client.map_err(|error| WorkerError::Master(error.to_string()))?;
    let executor = Arc::new(DockerExecutor::start(&config).await?);
    let registration = Registration {
        slots: config.slots,
        queues: config.queues.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: config::host_name().to_string(),
        engine: executor.describe(),
        labels: labels::all(&config.labels),
        // The executor provides the offer, and updates it.
        offer: None,
    };
    let terms = Terms { name: config.name.clone(), registration, grace: config.grace.0 };
    Worker::of(client, executor.clone(), terms).serve(shutdown, hard).await;
    executor.close().await;
    Ok(())
}

/// The job images that a worker with these settings has or can build.
pub async fn job_images(config: &Config) -> Result<Images, WorkerError> {
    let engine = Engine::connect(&config.engine).await?;
    Ok(images_of(&engine, config))
}
