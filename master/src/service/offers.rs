//! The offers of workers, in memory, so that submits and claims need no query.
//!
//! A registration is known at once to the master that received it. Those that other masters
//! received, and when workers were last seen, are read from the database when they are older than
//! [`FRESH`]. So a claim through another master may be matched by the worker's previous offer; the
//! worker itself decides in the end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use orchestra_contracts::{
    ImageReference, JobSpec, Network, Resources, WorkerName, Workspace, explain::Warning,
    worker::Registration,
};

use super::{Service, ServiceError, signed};
use crate::{
    domain::{Offers, Unsatisfiable},
    store::StoreError,
};

/// Far less than the time after which a silent worker is not counted on.
const FRESH: SignedDuration = SignedDuration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct KnownOffers {
    known: Mutex<Known>,
    /// Held by the task that queries the database.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    offers: Arc<Offers>,
    read_at: Option<Timestamp>,
}

impl KnownOffers {
    /// Notes a stored registration. Returns whether it says anything new.
    pub(super) fn note(&self, worker: &WorkerName, said: Registration, now: Timestamp) -> bool {
        Arc::make_mut(&mut self.known().offers).note(worker, said, now, now)
    }

    /// Notes whether a worker drains.
    pub(super) fn note_drain(&self, worker: &WorkerName, draining: bool) {
        Arc::make_mut(&mut self.known().offers).note_drain(worker, draining);
    }

    /// The known offers, and whether they are fresh; `None` before the first query.
    fn now(&self, now: Timestamp) -> Option<(Arc<Offers>, bool)> {
        let known = self.known();
        let age = now.duration_since(known.read_at?);
        Some((known.offers.clone(), (SignedDuration::ZERO..FRESH).contains(&age)))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service {
    /// The offers, at most [`FRESH`] old, or as new as the database allows.
    pub(super) async fn offers(&self) -> Result<Arc<Offers>, StoreError> {
        let is_fresh = |known: Option<(Arc<Offers>, bool)>| known.filter(|(_, is_fresh)| *is_fresh);
        if let Some((offers, _)) = is_fresh(self.offers.now(self.clock.now())) {
            return Ok(offers);
        }
        let _alone = self.offers.reading.lock().await;
        let before = self.offers.now(self.clock.now());
        if let Some((offers, _)) = is_fresh(before.clone()) {
            return Ok(offers);
        }
        let records = match (self.store.workers().await, before) {
            (Ok(records), _) => records,
            (Err(error), Some((offers, _))) => {
                tracing::debug!(%error, "what workers offer could not be read again");
                return Ok(offers);
            }
            (Err(error), None) => return Err(error),
        };
        let mut known = self.offers.known();
        let offers = Arc::make_mut(&mut known.offers);
        for record in records {
            let (name, draining) = (record.name, record.draining_since.is_some());
            offers.note(&name, record.registration, record.registered_at, record.seen_at);
            offers.note_drain(&name, draining);
        }
        known.read_at = Some(self.clock.now());
        Ok(known.offers.clone())
    }

    /// Warnings about such a job, by the workers that exist.
    pub(super) async fn warnings(&self, spec: &JobSpec) -> Result<Vec<Warning>, StoreError> {
        if spec.workspace != Workspace::Shared {
            return Ok(Vec::new());
        }
        let offers = self.offers().await?;
        let since = self.clock.now() - signed(self.settings.lease);
        let folders = offers.folders(&spec.queue, &spec.demand(), since);
        let folders: Vec<&str> = folders.into_iter().collect();
        let warning = (folders.len() > 1).then(|| Warning::shared_folder(&spec.queue, &folders));
        Ok(warning.into_iter().collect())
    }

    /// Refuses a job that no known worker of its queue could ever run. Where no worker is known,
    /// nothing is refused: one may still come.
    pub(super) async fn check_offers(&self, spec: &JobSpec) -> Result<(), ServiceError> {
        let foreign = spec.image.as_deref().is_some_and(ImageReference::is_meant);
        if spec.resources == Resources::default() && spec.network == Network::None && !foreign {
            return Ok(());
        }
        let offers = self.offers().await?;
        match offers.beyond(&spec.queue, &spec.demand(), self.clock.now()) {
            None => Ok(()),
            Some(Unsatisfiable { errors, best }) => {
                Err(ServiceError::Unsatisfiable { errors, best })
            }
        }
    }
}
