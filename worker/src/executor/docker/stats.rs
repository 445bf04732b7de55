//! What the master is told of this worker besides its offer: how its engine answers, what waits in
//! the pool, which images there are, and what the doctor says. Looked up beside the jobs, seldom.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use orchestra_contracts::worker::{Calls, Check, ImageStats, Stats};
use tokio::time::sleep;

use super::{engine::Engine, images::Images, pool::Pool};
use crate::{Config, doctor};

/// A worker that starts has better things to do.
const FIRST: Duration = Duration::from_secs(3);
/// Between two looks. One asks the engine of each image.
const EVERY: Duration = Duration::from_mins(1);
/// So many looks later the doctor comes again.
const DOCTOR: u32 = 10;

/// What was found last.
#[derive(Default)]
pub(super) struct Looked(Mutex<(Vec<ImageStats>, Vec<Check>)>);

impl Looked {
    /// Looks at intervals until it is dropped.
    pub(super) async fn watch(&self, images: &Images, config: &Config) {
        sleep(FIRST).await;
        for round in 0_u32.. {
            // Without an engine the images of the last look stay: it has them still.
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

    /// With what is known without asking anybody.
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

/// How often the engine was asked for what. The words are ours, so there are few.
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
