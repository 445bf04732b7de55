//! The template of a worker's sandboxes: the settings that are the same for all of them, whether
//! they start for a job or ahead of one.

use std::time::Duration;

use orchestra_contracts::Workspace;

use super::{
    container::Keeper,
    create::Plan,
    paths::OnHost,
    session::{Sandbox, StartError},
    volume::Volume,
    wall::{self, Outside, Tools, Wall},
    workspace,
};
use crate::config::{JobUser, Limits, SandboxConfig};

/// The common settings of a worker's sandboxes, and the means to start one.
pub(super) struct SandboxTemplate {
    pub(super) keeper: Keeper,
    pub(super) volume: Volume,
    pub(super) user: JobUser,
    /// worker-files, under its path on the engine's host.
    pub(super) files: OnHost,
    pub(super) settings: SandboxConfig,
    pub(super) wall: Wall,
}

impl SandboxTemplate {
    /// The plan that suits most jobs, for no particular attempt.
    pub(super) fn plan(&self, limits: Limits) -> Plan<'_> {
        Plan {
            labels: self.keeper.labels("job"),
            whose: None,
            user: self.user,
            files: &self.files,
            workspace: Workspace::Shared,
            sandbox: self.volume.name(),
            limits,
            file_size: self.settings.file_size.0,
            network: None,
            dns: &self.settings.job_dns,
            idle: Duration::ZERO,
            runtime: self.settings.runtime.as_deref(),
            log_bytes: self.settings.log_head.0 + self.settings.log_tail.0,
        }
    }

    /// Starts a container with this name. `image` is an image id.
    pub(super) async fn start(
        &self,
        name: String,
        plan: &Plan<'_>,
        image: &str,
    ) -> Result<Sandbox, StartError> {
        let started = self.start_once(name, plan, image).await;
        self.doubt(started).await
    }

    /// What a job of this image could reach if it began now and had a network.
    pub(super) async fn outside(&self, image: &str) -> Result<Outside, StartError> {
        let found = async {
            self.volume.ensure(&self.keeper, image).await?;
            self.wall.outside(&self.keeper, self.tools(image)).await
        };
        let found = found.await;
        self.doubt(found).await
    }

    fn tools<'a>(&'a self, image: &'a str) -> Tools<'a> {
        Tools { volume: self.volume.name(), image }
    }

    /// Marks the volume as unverified after such an error, because it may have been pruned.
    async fn doubt<T>(&self, made: Result<T, StartError>) -> Result<T, StartError> {
        if made.as_ref().is_err_and(StartError::is_of_what_went) {
            self.volume.distrust().await;
        }
        made
    }

    async fn start_once(
        &self,
        name: String,
        plan: &Plan<'_>,
        image: &str,
    ) -> Result<Sandbox, StartError> {
        self.volume.ensure(&self.keeper, image).await?;
        let mut container = self.keeper.container(name);
        let create = self.keeper.engine.create_with_retries(container.name(), plan.request(image));
        let id = Box::pin(create).await?;
        container.is_made(id);
        if plan.workspace == Workspace::Private {
            workspace::give(&self.keeper, &container, plan.user, image).await?;
        }
        let sandbox = Sandbox::start(container, plan.user).await?;
        if let Some(outside) = &plan.network {
            wall::raise(&self.keeper, &sandbox.container, outside, self.tools(image)).await?;
        }
        Ok(sandbox)
    }
}
