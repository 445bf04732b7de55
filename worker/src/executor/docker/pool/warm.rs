//! One sandbox that waits for its job. It goes to one job only; if anything is wrong with it, it is
//! thrown away.

use std::{path::Path, time::Duration};

use futures::FutureExt;
use tokio::time::Instant;

use super::super::{
    create::Plan,
    engine::EngineError,
    session::{Made, Sandbox},
    wall::Outside,
};
use crate::clock::{self, SandboxClock};

/// A sandbox with less time than this left is not handed over, because it might end itself
/// meanwhile.
const MARGIN: Duration = Duration::from_secs(5);

/// The identity of a folder on its disk, which differs from that of a folder put in its place.
/// `None` if nothing is shared.
pub(super) type Folder = Option<(u64, u64)>;

pub(super) fn folder_at(path: &Path) -> Folder {
    rustix::fs::stat(path).ok().map(|found| (found.st_dev, found.st_ino))
}

pub(super) struct Warm {
    sandbox: Sandbox,
    /// When it said `Ready`.
    began: Instant,
    /// worker-files as it was mounted.
    folder: Folder,
    /// Its network and the wall around it, if it has a network.
    outside: Option<Outside>,
}

/// Why a warm sandbox cannot be handed over.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    #[error("its container has ended, or its stream")]
    Gone,
    #[error("it was left alone for too long")]
    Late,
    #[error("worker-files is another folder now")]
    Moved,
    #[error("its network is another one now, or what must not be reached on it")]
    Walled,
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Warm {
    /// Wraps a sandbox that has just said `Ready`.
    pub(super) fn new(sandbox: Sandbox, folder: Folder, outside: Option<Outside>) -> Self {
        Self { sandbox, began: Instant::now(), folder, outside }
    }

    /// Checks that a waiting sandbox has said nothing and has enough time left.
    fn is_quiet(&mut self) -> Result<(), Unfit> {
        if self.sandbox.event_stream.next().now_or_never().is_some() {
            return Err(Unfit::Gone);
        }
        if self.sandbox.fence < Instant::now() + MARGIN { Err(Unfit::Late) } else { Ok(()) }
    }

    /// Lets it wait until `until`. `outside` is what a job with a network would get now, if known.
    pub(super) async fn renew(
        mut self,
        until: Instant,
        outside: Option<&Outside>,
    ) -> Result<Self, Unfit> {
        if let (Some(has), Some(now)) = (&self.outside, outside)
            && has != now
        {
            return Err(Unfit::Walled);
        }
        if self.sandbox.event_stream.next().now_or_never().is_some() {
            return Err(Unfit::Gone);
        }
        if self.sandbox.renew(until).await { Ok(self) } else { Err(Unfit::Gone) }
    }

    /// Adapts it to the plan. It still ends by itself if it gets no job.
    pub(super) async fn fit(
        mut self,
        plan: &Plan<'_>,
        same_limits: bool,
        folder: Folder,
    ) -> Result<Sandbox, Unfit> {
        if self.folder != folder {
            return Err(Unfit::Moved);
        }
        if self.outside != plan.network {
            return Err(Unfit::Walled);
        }
        self.is_quiet()?;
        if !same_limits {
            let container = &self.sandbox.container;
            container.engine().limit(container.handle(), &plan.limits).await?;
            // Checked again, because the engine may report its end only now.
            self.is_quiet()?;
        }
        // The wall clock may have been set while it waited.
        let began = clock::wall_micros().saturating_sub(clock::micros(self.began.elapsed()));
        self.sandbox.clock = SandboxClock::heard_at(began);
        self.sandbox.made = Made::Ahead;
        Ok(self.sandbox)
    }
}
