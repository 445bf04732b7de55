//! What this worker reports to the master besides its offer: how its engine answers, how many warm
//! sandboxes wait, which images exist, and what the doctor says. Collected in the background at
//! long intervals.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use orchestra_contracts::worker::{Calls, Check, ImageStats, Stats};
use tokio::time::sleep;

use super::{engine::Engine, images::Images, pool::Pool};
use crate::{Config, doctor};

/// Delay of the first collection, to keep it out of the worker's start.
const FIRST: Duration = Duration::from_secs(3);
/// Pause between collections. Each makes one engine call per image.
const EVERY: Duration = Duration::from_mins(1);
/// The doctor runs once in this many collections.
const DOCTOR: u32 = 10;

/// The result of the last collection.
#[derive(Default)]
pub(super) struct Looked(Mutex<(Vec<ImageStats>, Vec<Check>)>);

impl Looked {
    /// Collects at intervals until this future is dropped.
    pub(super) async fn watch(&self, images: &Images, config: &Config) {
        sleep(FIRST).await;
        for round in 0_u32.. {
            // If the engine does not answer, the previous list of images stays: it still has them.
            if let Ok(list) = images.list().await {
                let shown = list.into_iter().map(|image| ImageStats {
                    name: image.name,
                    built: image.built,
                    size: image.size.map(orchestra_contracts::Size),
                    last_used: image.last_used,
                    ready: 0,
                });
                self.found().0 = shown.collect();
            }
            if round.is_multiple_of(DOCTOR) {
                let checks = doctor::checks(config).await;
                self.found().1 = checks.into_iter().map(doctor::Check::told).collect();
            }
            sleep(EVERY).await;
        }
    }

    fn found(&self) -> std::sync::MutexGuard<'_, (Vec<ImageStats>, Vec<Check>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last results, together with the numbers that need no call.
    pub(super) fn stats(&self, engine: &Engine, pool: &Pool) -> Stats {
        let (mut images, checks) = self.found().clone();
        for (name, ready) in pool.ready() {
            match images.iter_mut().find(|image| image.name == name) {
                Some(image) => image.ready = ready,
                None => images.push(ImageStats {
                    name,
                    built: true,
                    size: None,
                    last_used: None,
                    ready,
                }),
            }
        }
        Stats { engine: engine.counted(), pool: Some(pool.stats()), images, checks }
    }
}

/// Counts of engine calls by kind. The kinds are the fixed texts that the calls use, so there are
/// few.
#[derive(Default)]
pub(super) struct Counts(Mutex<BTreeMap<&'static str, Calls>>);

impl Counts {
    pub(super) fn note(&self, what: &'static str, took: Duration, failed: bool) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = all.entry(what).or_default();
        calls.count += 1;
        calls.failed += u64::from(failed);
        calls.total_ms += took.as_millis() as u64;
    }

    pub(super) fn all(&self) -> BTreeMap<String, Calls> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(what, calls)| ((*what).to_owned(), *calls)).collect()
    }
}
