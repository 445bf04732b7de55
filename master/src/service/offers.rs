//! What workers offer, in memory: submits and claims look there and not into the database.
//!
//! A registration is known at once to the master that heard it. What another master heard,
//! and when workers were last seen, is read from the database when what is known is older
//! than [`FRESH`]; so a claim that comes through another master than its worker's
//! registration can be matched by what the worker said before, and the worker has the last word.

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

/// Far less than the time for which a silent worker is counted on.
const FRESH: SignedDuration = SignedDuration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct KnownOffers {
    known: Mutex<Known>,
    /// Held by the one who asks the database.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    offers: Arc<Offers>,
    read_at: Option<Timestamp>,
}

impl KnownOffers {
    /// Takes in a registration that was stored. Answers whether it says anything new.
    pub(super) fn note(&self, worker: &WorkerName, said: Registration, now: Timestamp) -> bool {
        Arc::make_mut(&mut self.known().offers).note(worker, said, now, now)
    }

    /// Takes in what an operator said of a worker.
    pub(super) fn note_drain(&self, worker: &WorkerName, draining: bool) {
        Arc::make_mut(&mut self.known().offers).note_drain(worker, draining);
    }

    /// What is known, and whether that is fresh; `None` before the database was read.
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
    /// What workers offer, as old as [`FRESH`] at most, or as new as the database allows.
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

    /// What may surprise whoever submits such a job, by the workers that are there.
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

    /// Refuses a job that no worker of its queue could ever take. Where none is known, one
    /// that can may still come.
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
