//! Which worker can take which job, by what workers said of themselves.
//!
//! Labels, limits and the network are a hard match: a job waits rather than go to a worker that
//! must refuse it. An image is not, for its folder may be added at any time: a worker
//! without it takes the job where no other has it, and says so if it does not exist.

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

/// After a longer silence a worker is not counted on any more: longer than restarts,
/// upgrades and a night without power.
const COUNTED: SignedDuration = SignedDuration::from_hours(24);

/// What workers offer. Of one that never registered nothing is known, so it takes any job but
/// those that require a label.
#[derive(Clone, Debug, Default)]
pub struct Offers(BTreeMap<WorkerName, Arc<Known>>);

#[derive(Clone, Debug)]
struct Known {
    registration: Registration,
    registered_at: Timestamp,
    seen_at: Timestamp,
    /// It is handed nothing new, until an operator says otherwise.
    draining: bool,
}

/// Why a demand is unsatisfiable: no worker of the queue allows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsatisfiable {
    /// The fields of the spec, each with the most that there is; never empty.
    pub errors: Vec<FieldError>,
    /// The best that is offered, in a sentence.
    pub best: String,
}

impl Offers {
    /// Takes in what a worker said. Answers whether that is new: it was unknown, or said
    /// something else before.
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
            // Read before it said more.
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

    /// Takes in whether a worker is being drained.
    pub fn note_drain(&mut self, worker: &WorkerName, draining: bool) {
        if let Some(known) = self.0.get_mut(worker)
            && known.draining != draining
        {
            Arc::make_mut(known).draining = draining;
        }
    }

    /// Whether this worker may be handed a job that asks for this.
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

    /// What keeps this worker from a job that asks for this, in words; empty where it
    /// [`takes`](Self::takes) it.
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

    /// What keeps every worker of the queue from ever taking a job that asks for this; `None`
    /// where one would, and where nobody is known who serves the queue.
    pub fn beyond(&self, queue: &str, demand: &Demand, now: Timestamp) -> Option<Unsatisfiable> {
        // Of one that tells of no offer nobody knows what it refuses.
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
            // Each for itself is allowed somewhere; shown is what the nearest does not allow.
            let nearest = offers.iter().map(|offer| offer.excesses(demand)).min_by_key(Vec::len)?;
            errors = nearest.iter().map(|it| it.refused_with_the_rest("no worker")).collect();
        }
        let network = if best.network == Network::None { "no network" } else { "a network" };
        let best = format!("the most that workers of queue {queue} allow: {best}, {network}");
        Some(Unsatisfiable { errors, best })
    }

    /// The shared folders in one of which a job that asks for this would run, by the workers that were
    /// heard of since then: each host has one of its own, and those with the same [`FILES_LABEL`] have the
    /// same.
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

    /// Those who serve the queue and may be expected to come back.
    fn counted(&self, queue: &str, now: Timestamp) -> impl Iterator<Item = &Known> {
        let since = now.saturating_sub(COUNTED).unwrap_or(Timestamp::MIN);
        let serves = move |known: &Known| known.registration.queues.iter().any(|q| q == queue);
        let all = self.0.values().map(|known| &**known);
        all.filter(move |known| known.seen_at >= since && serves(known))
    }
}

/// What its shared folder is called: by its label, else by its host, if it tells of one.
fn folder_of(own: &Registration) -> Option<&str> {
    let host = Some(own.host.as_str()).filter(|host| !host.is_empty());
    own.labels.get(FILES_LABEL).map(String::as_str).or(host)
}

/// Whether a worker has every label that is required, with its value.
fn has_labels(worker: &Registration, demand: &Demand) -> bool {
    demand.requires.iter().all(|(key, value)| worker.labels.get(key) == Some(value))
}

#[cfg(test)]
mod tests;
