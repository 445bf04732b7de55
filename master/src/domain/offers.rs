//! Matching: which worker can take which job, according to the workers' registrations.
//!
//! Labels, limits and the network must match: a job waits rather than go to a worker that would
//! have to refuse it. The image need not match, because its folder may be added at any time: a
//! worker without the image takes the job if no other worker has it, and reports if the image does
//! not exist.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use orchestra_contracts::{
    Demand, FieldError, Network, WorkerName,
    explain::{FILES_LABEL, Lack, LackOf},
    worker::{Offer, Registration},
};

/// A worker that was silent for longer no longer counts. Longer than a restart, an upgrade or a
/// night without power.
const COUNTED: SignedDuration = SignedDuration::from_hours(24);

/// What the workers offer. Nothing is known of a worker that never registered, so it takes any job
/// that requires no label.
#[derive(Clone, Debug, Default)]
pub struct Offers(BTreeMap<WorkerName, Arc<Known>>);

#[derive(Clone, Debug)]
struct Known {
    registration: Registration,
    registered_at: Timestamp,
    seen_at: Timestamp,
    /// It gets no new jobs until an operator lifts the drain.
    draining: bool,
}

/// Why a demand is unsatisfiable: no worker of the queue allows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsatisfiable {
    /// The spec's offending fields, each with the maximum on offer; never empty.
    pub errors: Vec<FieldError>,
    /// The best offer, in a sentence.
    pub best: String,
}

impl Offers {
    /// Records a worker's registration. Returns whether it is new: the worker was unknown, or
    /// registered something else before.
    pub fn note(
        &mut self,
        worker: &WorkerName,
        registration: Registration,
        registered_at: Timestamp,
        seen_at: Timestamp,
    ) -> bool {
        let known = self.0.get(worker);
        let seen_at = known.map_or(seen_at, |known| known.seen_at.max(seen_at));
        let (registration, registered_at) = match known {
            // An older registration, read before the worker sent the known one.
            Some(known) if known.registered_at > registered_at => {
                (known.registration.clone(), known.registered_at)
            }
            _ => (registration, registered_at),
        };
        let is_new = known.is_none_or(|known| known.registration != registration);
        let draining = self.0.get(worker).is_some_and(|known| known.draining);
        let known = Known { registration, registered_at, seen_at, draining };
        self.0.insert(worker.clone(), Arc::new(known));
        is_new
    }

    /// Records whether a worker is being drained.
    pub fn note_drain(&mut self, worker: &WorkerName, draining: bool) {
        if let Some(known) = self.0.get_mut(worker)
            && known.draining != draining
        {
            Arc::make_mut(known).draining = draining;
        }
    }

    /// Whether this worker may get a job with this demand.
    pub fn takes(&self, worker: &WorkerName, queue: &str, demand: &Demand, now: Timestamp) -> bool {
        let known = self.0.get(worker).map(|known| &known.registration);
        if !demand.requires.is_empty() && !known.is_some_and(|own| has_labels(own, demand)) {
            return false;
        }
        let Some(own) = known.and_then(|own| own.offer.as_ref()) else { return true };
        if !own.allows(demand) {
            return false;
        }
        let Some(image) = &demand.image else { return true };
        let has_it = |offer: &Offer| offer.images.contains(image) && offer.allows(demand);
        let is_better = |other: &Registration| {
            has_labels(other, demand) && other.offer.as_ref().is_some_and(has_it)
        };
        let others = self.counted(queue, now).filter(|known| !known.draining);
        own.images.contains(image) || !others.map(|known| &known.registration).any(is_better)
    }

    /// Why this worker may not get a job with this demand, in words. Empty if it
    /// [`takes`](Self::takes) the job.
    pub fn lacks(
        &self,
        worker: &WorkerName,
        queue: &str,
        demand: &Demand,
        now: Timestamp,
    ) -> Vec<Lack> {
        let lack = |what, text| Lack { what, text };
        let own = self.0.get(worker).map(|known| &known.registration);
        let has = |(key, value): &(&String, &String)| {
            own.is_some_and(|own| own.labels.get(*key) == Some(*value))
        };
        let labels = demand.requires.iter().filter(|label| !has(label));
        let mut lacks: Vec<Lack> = labels
            .map(|(key, value)| lack(LackOf::Label, format!("lacks the label {key}={value}")))
            .collect();
        let excesses = own.and_then(|own| own.offer.as_ref()).map(|own| own.excesses(demand));
        let excesses = excesses.unwrap_or_default();
        lacks.extend(excesses.iter().map(|excess| lack(LackOf::Limit, excess.of_a_worker())));
        if lacks.is_empty() && !self.takes(worker, queue, demand, now) {
            let image = demand.image.as_deref().unwrap_or_default();
            let text = format!("leaves image {image} to a worker that has it");
            lacks.push(lack(LackOf::Image, text));
        }
        lacks
    }

    /// Why no worker of the queue can ever take a job with this demand. `None` if one could, and if
    /// no worker is known to serve the queue.
    pub fn beyond(&self, queue: &str, demand: &Demand, now: Timestamp) -> Option<Unsatisfiable> {
        // `None` if any worker registered without an offer: nobody knows what it refuses.
        let offers: Vec<&Offer> = self
            .counted(queue, now)
            .map(|it| it.registration.offer.as_ref())
            .collect::<Option<_>>()?;
        if offers.iter().any(|offer| offer.allows(demand)) {
            return None;
        }
        let (first, others) = offers.split_first()?;
        let best = others.iter().fold((*first).clone(), |best, offer| best.or(offer));
        let mut errors: Vec<_> =
            best.excesses(demand).iter().map(|excess| excess.refused_by("no worker")).collect();
        if errors.is_empty() {
            // Each field is allowed by some worker, but no worker allows them all. Shows what the
            // closest one does not allow.
            let nearest = offers.iter().map(|offer| offer.excesses(demand)).min_by_key(Vec::len)?;
            errors = nearest.iter().map(|it| it.refused_with_the_rest("no worker")).collect();
        }
        let network = if best.network == Network::None { "no network" } else { "a network" };
        let best = format!("the most that workers of queue {queue} allow: {best}, {network}");
        Some(Unsatisfiable { errors, best })
    }

    /// The shared folders in which a job with this demand might run, going by the workers that were
    /// seen since `since`. Each host has a folder of its own, but workers with the same
    /// [`FILES_LABEL`] share one.
    pub fn folders(&self, queue: &str, demand: &Demand, since: Timestamp) -> BTreeSet<&str> {
        let could = |known: &&Arc<Known>| {
            let own = &known.registration;
            known.seen_at >= since
                && !known.draining
                && own.queues.iter().any(|served| served == queue)
                && has_labels(own, demand)
                && own.offer.as_ref().is_none_or(|offer| offer.allows(demand))
        };
        self.0.values().filter(could).filter_map(|known| folder_of(&known.registration)).collect()
    }

    /// The workers that serve the queue and may be expected to come back.
    fn counted(&self, queue: &str, now: Timestamp) -> impl Iterator<Item = &Known> {
        let since = now.saturating_sub(COUNTED).unwrap_or(Timestamp::MIN);
        let serves = move |known: &Known| known.registration.queues.iter().any(|q| q == queue);
        let all = self.0.values().map(|known| &**known);
        all.filter(move |known| known.seen_at >= since && serves(known))
    }
}

/// The name of a worker's shared folder: its label, else its host, if it reports one.
fn folder_of(own: &Registration) -> Option<&str> {
    let host = Some(own.host.as_str()).filter(|host| !host.is_empty());
    own.labels.get(FILES_LABEL).map(String::as_str).or(host)
}

/// Whether a worker has all required labels with the required values.
fn has_labels(worker: &Registration, demand: &Demand) -> bool {
    demand.requires.iter().all(|(key, value)| worker.labels.get(key) == Some(value))
}

#[cfg(test)]
mod tests;
