//! Makes sandboxes ahead of their jobs, and checks on them while they wait.

use std::time::Duration;

use orchestra_contracts::{ImageReference, Network};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    super::{create::Plan, images::ImageError, name, session::StartError},
    Kind, Pool, memory,
    warm::Warm,
};

/// Pause between a job's end and the start of the next sandbox, so that the job's report goes
/// first.
const REPORT: Duration = Duration::from_millis(5);
/// Pause after a sandbox that could not be made.
const PAUSE: Duration = Duration::from_secs(2);

impl Pool {
    /// Keeps the target number of sandboxes, until `end`.
    pub(in super::super) async fn tend(&self, end: &CancellationToken) {
        if self.buckets().is_off() {
            return;
        }
        tokio::join!(self.refill(end), end.run_until_cancelled(self.look_often()));
    }

    /// Makes missing sandboxes, until `end`. A sandbox that is being made at the end is finished,
    /// then removed: an engine that is interrupted half way might create it after the worker's last
    /// clean-up.
    async fn refill(&self, end: &CancellationToken) {
        while end.run_until_cancelled(self.wake.notified()).await.is_some() {
            while let Some(Some((kind, image))) = end.run_until_cancelled(self.due()).await {
                match self.make(&kind, &image).await {
                    // A sandbox that is no longer wanted is dropped, which removes it.
                    Ok(warm) => drop(self.buckets().put(&kind, &image, warm)),
                    Err(error) => {
                        tracing::debug!("no warm sandbox of {}: {error}", kind.image);
                        end.run_until_cancelled(sleep(PAUSE)).await;
                        break;
                    }
                }
            }
        }
    }

    /// What to make now. Waits until no job needs the machine.
    async fn due(&self) -> Option<(Kind, String)> {
        // The pool holds the senders, so these waits cannot fail.
        let mut running = self.running.subscribe();
        let _ = timeout(self.times.settle, running.wait_for(|count| *count == 0)).await;
        sleep(REPORT).await;
        // A job that waits for its own sandbox goes first.
        let _ = self.cold.subscribe().wait_for(|count| *count == 0).await;
        if self.is_held_off() { None } else { self.buckets().lacking() }
    }

    async fn make(&self, kind: &Kind, image: &str) -> Result<Warm, StartError> {
        let (folder, workspace) = (self.folder_of(kind), kind.workspace);
        let network = match kind.network {
            Network::None => None,
            Network::Bridge => Some(self.template.outside(image).await?),
        };
        let idle = self.times.fence;
        let plan = Plan { workspace, network, idle, ..self.template.plan(self.limits) };
        let mut sandbox = self.template.start(name::of_warm(), &plan, image).await?;
        sandbox.fence = Instant::now() + self.times.fence;
        Ok(Warm::new(sandbox, folder, plan.network))
    }

    fn is_held_off(&self) -> bool {
        self.template.keeper.health.trouble().is_some() || self.is_low()
    }

    fn is_low(&self) -> bool {
        self.disk_space.is_short() || memory::is_below(self.spare_memory)
    }

    async fn look_often(&self) {
        self.stock().await;
        loop {
            self.look().await;
            self.wake.notify_one();
            sleep(self.times.look).await;
        }
    }

    /// Stocks the pool before the first job. Most jobs use the default image. If it is not built
    /// yet, the first job builds it.
    pub(in super::super) async fn stock(&self) {
        if let Ok(Some(image)) = self.built(&self.default_image).await {
            self.buckets().stock(&Kind::usual(&self.default_image), &image, Instant::now());
        }
    }

    /// The id of the image that this name stands for now.
    async fn built(&self, name: &str) -> Result<Option<String>, ImageError> {
        Ok(self.images.built(name).await?.map(|image| image.id))
    }

    pub(in super::super) async fn look(&self) {
        if self.is_low() {
            let gone = self.buckets().clear();
            if !gone.is_empty() {
                tracing::info!("memory or disk is low: {} warm sandboxes go", gone.len());
            }
            return;
        }
        drop(self.buckets().shrink(Instant::now(), self.times.idle));
        let kinds = self.buckets().kinds();
        let mut outside = None;
        if kinds.iter().any(|(kind, ..)| kind.network != Network::None) {
            outside = self.template.wall.glance(&self.template.keeper).await;
        }
        for (kind, image, ready) in kinds {
            self.follow(&kind, &image).await;
            for _ in 0..ready {
                let lifted = self.buckets().lift(&kind);
                let Some(warm) = lifted else { break };
                let until = Instant::now() + self.times.fence;
                match warm.renew(until, outside.as_ref()).await {
                    Ok(warm) => drop(self.buckets().put(&kind, &image, warm)),
                    Err(unfit) => tracing::debug!("a warm sandbox is thrown away: {unfit}"),
                }
            }
        }
    }

    /// Replaces an image that was edited, rebuilt or removed.
    async fn follow(&self, kind: &Kind, image: &str) {
        if ImageReference::is_meant(&kind.image) {
            return;
        }
        let now = match self.built(&kind.image).await {
            Ok(now) if now.as_deref() == Some(image) => return,
            Ok(now) => now,
            Err(ImageError::Unavailable { .. }) => return,
            Err(_) => None,
        };
        drop(self.buckets().replace(kind, now.as_deref()));
    }
}
