//! Warm sandboxes: started ahead of time, unused, each for one job. A job that finds one begins in
//! milliseconds. Its container is removed at the job's end like any other, so there is nothing to
//! clean, and no job can leave anything to the next.
//!
//! * `buckets` decides how many of each kind wait;
//! * `warm` is one waiting sandbox, until it is handed over;
//! * `tend` makes them, checks on them, and removes them;
//! * `memory` says when the machine needs the memory that they take.
//!
//! A worker renews the time that each may wait. If it is killed, its warm sandboxes end by
//! themselves and the next process's sweep removes them. They are made one at a time, while no job
//! waits for a sandbox of its own. None are made while the engine does not answer, or memory or
//! disk is low.

mod buckets;
mod memory;
mod tend;
mod warm;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use orchestra_contracts::{Network, Size, Workspace, worker::PoolStats};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use self::{
    buckets::Buckets,
    warm::{Folder, Unfit, Warm, folder_at},
};
use super::{
    create::Plan, disk_space::DiskSpace, images::Images, session::Sandbox,
    template::SandboxTemplate,
};
use crate::{Config, config::Limits};

/// Times that govern a pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// Pause between checks of the waiting sandboxes.
    pub(super) look: Duration,
    /// How long a sandbox waits without a renewal from its worker.
    pub(super) fence: Duration,
    /// After this long unused, a sandbox is removed.
    pub(super) idle: Duration,
    /// After a job starts, the next sandbox is made only when the job has ended or this time has
    /// passed, so that the job has the machine to itself.
    pub(super) settle: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            look: Duration::from_secs(10),
            fence: Duration::from_mins(1),
            idle: Duration::from_mins(10),
            settle: Duration::from_millis(150),
        }
    }
}

/// Properties that are fixed when a container is created and that differ between a worker's jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kind {
    /// The image, as jobs name it.
    image: String,
    workspace: Workspace,
    network: Network,
}

impl Kind {
    /// The kind that most jobs use.
    fn usual(image: &str) -> Self {
        let (workspace, network) = (Workspace::Shared, Network::None);
        Self { image: image.to_owned(), workspace, network }
    }

    fn of(plan: &Plan<'_>, image: &str) -> Self {
        let network = if plan.network.is_some() { Network::Bridge } else { Network::None };
        Self { image: image.to_owned(), workspace: plan.workspace, network }
    }
}

pub(super) struct Pool {
    template: Arc<SandboxTemplate>,
    images: Images,
    default_image: String,
    disk_space: DiskSpace,
    /// worker-files, under its path in this process.
    folder: PathBuf,
    times: Times,
    /// The limits of waiting sandboxes.
    limits: Limits,
    /// With less than this available, the machine has no memory for one more job and the pool is
    /// emptied.
    spare_memory: Size,
    buckets: Mutex<Buckets<Kind, Warm>>,
    /// Notified when a sandbox was taken, or a check is due.
    wake: Notify,
    /// Cold starts under way: sandboxes being made for jobs that wait for them.
    cold: watch::Sender<usize>,
    /// Running jobs.
    running: watch::Sender<usize>,
    /// How many jobs got a warm sandbox.
    handed_over: AtomicU64,
    /// How many jobs had a sandbox made for them.
    made_for: AtomicU64,
}

impl Pool {
    pub(super) fn new(
        config: &Config,
        times: Times,
        template: Arc<SandboxTemplate>,
        images: Images,
        disk_space: DiskSpace,
        folder: PathBuf,
    ) -> Self {
        Self {
            images,
            default_image: config.default_image.clone(),
            disk_space,
            folder,
            times,
            limits: template.settings.usual_limits(),
            spare_memory: template.settings.memory,
            template,
            buckets: Mutex::new(Buckets::new(config.warm.bounds(config.slots))),
            wake: Notify::new(),
            cold: watch::Sender::new(0),
            running: watch::Sender::new(0),
            handed_over: AtomicU64::new(0),
            made_for: AtomicU64::new(0),
        }
    }

    fn buckets(&self) -> MutexGuard<'_, Buckets<Kind, Warm>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A warm sandbox for this plan, by its image's name and id. `None` if one must be made.
    pub(super) async fn take(
        &self,
        plan: &Plan<'_>,
        (name, image): (&str, &str),
    ) -> Option<Sandbox> {
        if !self.fits(plan) {
            return None;
        }
        let kind = Kind::of(plan, name);
        loop {
            let warm = {
                let mut gone = Vec::new();
                let mut buckets = self.buckets();
                if buckets.is_off() {
                    return None;
                }
                let taken = buckets.take(&kind, image, Instant::now(), &mut gone);
                drop(buckets);
                self.wake.notify_one();
                taken?
            };
            let (same, folder) = (plan.limits == self.limits, self.folder_of(&kind));
            match warm.fit(plan, same, folder).await {
                Ok(sandbox) => return Some(sandbox),
                Err(unfit) => {
                    tracing::debug!("a warm sandbox is thrown away: {unfit}");
                    if matches!(unfit, Unfit::Engine(error) if error.is_absence()) {
                        return None;
                    }
                }
            }
        }
    }

    /// Counts a job that got a warm sandbox.
    pub(super) fn is_taken(&self) {
        self.handed_over.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a warm sandbox can serve this plan. Everything else that is fixed at creation is the
    /// same for all of a worker's containers, or part of the kind.
    fn fits(&self, plan: &Plan<'_>) -> bool {
        plan.limits.tmp == self.limits.tmp
    }

    /// The identity of the folder that a sandbox shares, as it is on disk now.
    fn folder_of(&self, kind: &Kind) -> Folder {
        if kind.workspace == Workspace::Shared { folder_at(&self.folder) } else { None }
    }

    /// Counts a job that waits for a sandbox of its own, until the result is dropped.
    pub(super) fn cold_start(&self) -> Counted<'_> {
        self.made_for.fetch_add(1, Ordering::Relaxed);
        Counted::one(&self.cold)
    }

    /// Counts a job that is starting or running, until the result is dropped.
    pub(super) fn job(&self) -> Counted<'_> {
        Counted::one(&self.running)
    }

    /// Removes all waiting sandboxes and makes no more.
    pub(super) fn close(&self) {
        drop(self.buckets().close());
    }

    /// How many sandboxes wait for each image, by the image's name.
    pub(super) fn ready(&self) -> Vec<(String, u64)> {
        let mut images = BTreeMap::<String, u64>::new();
        for (kind, _, ready) in self.buckets().kinds() {
            *images.entry(kind.image).or_default() += ready as u64;
        }
        images.into_iter().collect()
    }

    pub(super) fn stats(&self) -> PoolStats {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        PoolStats {
            ready: self.ready().into_iter().map(|(_, ready)| ready).sum(),
            hits: of(&self.handed_over),
            misses: of(&self.made_for),
        }
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.buckets().kinds().into_iter().map(|(_, _, ready)| ready).sum()
    }

    #[cfg(test)]
    pub(super) fn handed_over(&self) -> u64 {
        self.handed_over.load(Ordering::Relaxed)
    }
}

/// Counts as one, until it is dropped.
pub(super) struct Counted<'a>(&'a watch::Sender<usize>);

impl<'a> Counted<'a> {
    fn one(all: &'a watch::Sender<usize>) -> Self {
        all.send_modify(|count| *count += 1);
        Self(all)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
