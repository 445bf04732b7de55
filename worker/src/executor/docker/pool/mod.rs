//! Warm sandboxes: started, never used, each for one job. A job that finds one begins in
//! milliseconds; when it has ended its container goes, as every other one does. So there is
//! nothing to clean, and no job can leave anything to the next.
//!
//! * `buckets` decides how many of which kind wait;
//! * `warm` is one of them, until it is handed over;
//! * `tend` makes them, looks after them, and lets them go;
//! * `memory` tells when the machine needs what they take.
//!
//! A worker keeps them by renewing the time that each may wait, so those of a worker that was
//! killed end by themselves, and the sweep of the next process removes them. They are made one
//! at a time, when no job waits for a sandbox of its own, and none are made while the engine is
//! unwell, or memory or disk is low.

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

/// How long things take in a pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// Between looks after those that wait.
    pub(super) look: Duration,
    /// So long one waits without another word of its worker.
    pub(super) fence: Duration,
    /// What nobody needed for so long goes.
    pub(super) idle: Duration,
    /// A job has the machine for itself until its end, or for so long, before the next one is
    /// made.
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

/// What is fixed when a container is made, and not the same for all of a worker's.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kind {
    /// The image, as jobs name it.
    image: String,
    workspace: Workspace,
    network: Network,
}

impl Kind {
    /// As most jobs want it.
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
    /// worker-files, as this process knows it.
    folder: PathBuf,
    times: Times,
    /// Those that wait are held to these.
    limits: Limits,
    /// A machine that has no memory for one more job has none for those that wait.
    spare_memory: Size,
    buckets: Mutex<Buckets<Kind, Warm>>,
    /// Something was taken, or is to be looked at.
    wake: Notify,
    /// Sandboxes that are made for jobs that wait for them.
    cold: watch::Sender<usize>,
    /// Jobs that run.
    running: watch::Sender<usize>,
    /// How many jobs have got one.
    handed_over: AtomicU64,
    /// How many had one made for them.
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

    /// One for this plan, by the name and the id of its image; `None` where it has to be made.
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

    /// A job has got one of those that it gave out.
    pub(super) fn is_taken(&self) {
        self.handed_over.fetch_add(1, Ordering::Relaxed);
    }

    /// What else is fixed when a container is created is the same for all of a worker's.
    fn fits(&self, plan: &Plan<'_>) -> bool {
        plan.limits.tmp == self.limits.tmp
    }

    /// The folder that a sandbox shares, as it is on its disk now.
    fn folder_of(&self, kind: &Kind) -> Folder {
        if kind.workspace == Workspace::Shared { folder_at(&self.folder) } else { None }
    }

    /// A job waits for a sandbox of its own until this is dropped.
    pub(super) fn cold_start(&self) -> Counted<'_> {
        self.made_for.fetch_add(1, Ordering::Relaxed);
        Counted::one(&self.cold)
    }

    /// A job is on its way or runs until this is dropped.
    pub(super) fn job(&self) -> Counted<'_> {
        Counted::one(&self.running)
    }

    /// All that wait go, and none are made any more.
    pub(super) fn close(&self) {
        drop(self.buckets().close());
    }

    /// How many wait of each image, by its name.
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

/// One of those that are counted, until it is dropped.
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
