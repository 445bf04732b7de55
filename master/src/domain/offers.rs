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

/// What no worker allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beyond {
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
    pub fn beyond(&self, queue: &str, demand: &Demand, now: Timestamp) -> Option<Beyond> {
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
        Some(Beyond { errors, best })
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
mod tests {
    use orchestra_contracts::{JobSpec, Resources, Size};

    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours)
    }

    fn offer(memory: u64, network: Network) -> Offer {
        Offer {
            cpus: 2.0,
            memory: Size::mib(memory),
            pids: 100,
            tmp: Size::mib(64),
            network,
            images: ["gcc".to_owned()].into(),
            references: [].into(),
            runtime: None,
            user: None,
        }
    }

    fn said(queue: &str, offer: Option<Offer>) -> Registration {
        Registration { slots: 1, queues: vec![queue.to_owned()], offer, ..Registration::default() }
    }

    fn name(name: &str) -> WorkerName {
        name.parse().unwrap()
    }

    fn offers(workers: &[(&str, Option<Offer>)]) -> Offers {
        let mut offers = Offers::default();
        for (number, (queue, offer)) in workers.iter().enumerate() {
            let worker = name(&format!("w{number}"));
            offers.note(&worker, said(queue, offer.clone()), at(0), at(0));
        }
        offers
    }

    fn needs(memory: u64, network: Network) -> Demand {
        let memory = Some(Size::mib(memory));
        let resources = Resources { memory, ..Resources::default() };
        JobSpec { resources, network, ..JobSpec::new("true") }.demand()
    }

    fn refusal(offers: &Offers, demand: &Demand) -> Option<Vec<String>> {
        let beyond = offers.beyond("q", demand, at(1))?;
        Some(beyond.errors.iter().map(|it| format!("{} {}", it.pointer, it.detail)).collect())
    }

    #[test]
    fn each_host_has_a_folder_unless_a_label_says_that_it_is_the_same() {
        let mut offers = Offers::default();
        let mut note = |worker: &str, host: &str, label: Option<&str>, seen: i64| {
            let labels = label.map(|value| (FILES_LABEL.to_owned(), value.to_owned()));
            let said = Registration {
                host: host.to_owned(),
                labels: labels.into_iter().collect(),
                ..said("q", None)
            };
            offers.note(&name(worker), said, at(0), at(seen));
        };
        note("a1", "a", None, 5);
        note("a2", "a", None, 5);
        note("gone", "c", None, 3);
        note("n1", "d", Some("nfs"), 5);
        note("n2", "e", Some("nfs"), 5);
        note("drained", "b", None, 5);
        note("silent", "", None, 5);
        let folders = |offers: &Offers, demand: &Demand| {
            offers.folders("q", demand, at(4)).into_iter().collect::<Vec<_>>().join(" ")
        };
        let any = JobSpec::new("true").demand();
        assert_eq!(folders(&offers, &any), "a b nfs");
        let requires = [(FILES_LABEL.to_owned(), "nfs".to_owned())].into();
        let kept = JobSpec { requires, ..JobSpec::new("true") }.demand();
        assert_eq!(folders(&offers, &kept), "nfs");
        offers.note_drain(&name("drained"), true);
        assert_eq!(folders(&offers, &any), "a nfs");
        assert_eq!(offers.folders("other", &any, at(4)).len(), 0);
    }

    #[test]
    fn what_one_worker_allows_is_not_refused() {
        let two = offers(&[
            ("q", Some(offer(1024, Network::None))),
            ("q", Some(offer(4096, Network::None))),
        ]);
        assert_eq!(refusal(&two, &needs(4096, Network::None)), None);
        assert_eq!(
            refusal(&two, &needs(8192, Network::Bridge)).unwrap(),
            [
                "/resources/memory asks for 8g, and no worker allows more than 4g",
                "/network asks for a network, and no worker allows one",
            ]
        );
        let best = two.beyond("q", &needs(8192, Network::None), at(1)).unwrap().best;
        assert!(best.ends_with("queue q allow: 2 cpus, 4g memory, 100 pids, 64m /tmp, no network"));
    }

    #[test]
    fn what_no_one_allows_together_is_refused() {
        let two = offers(&[
            ("q", Some(offer(1024, Network::Bridge))),
            ("q", Some(offer(4096, Network::None))),
        ]);
        let refusal = refusal(&two, &needs(4096, Network::Bridge)).unwrap();
        assert_eq!(refusal.len(), 1);
        assert!(
            refusal[0].ends_with("no worker allows that together with the rest"),
            "{refusal:?}"
        );
    }

    #[test]
    fn who_may_still_come_or_says_nothing_may_allow_it() {
        let small = || Some(offer(64, Network::None));
        let wish = needs(4096, Network::None);
        assert_eq!(refusal(&offers(&[]), &wish), None);
        assert_eq!(refusal(&offers(&[("other", small())]), &wish), None);
        assert_eq!(refusal(&offers(&[("q", small()), ("q", None)]), &wish), None);
        assert!(refusal(&offers(&[("q", small()), ("other", None)]), &wish).is_some());
    }

    #[test]
    fn a_worker_that_was_silent_for_a_day_is_not_counted_on() {
        let mut both = offers(&[("q", Some(offer(64, Network::None)))]);
        let large = said("q", Some(offer(4096, Network::None)));
        both.note(&name("large"), large, at(0), at(0));
        both.note(&name("w0"), said("q", Some(offer(64, Network::None))), at(0), at(23));
        let wish = needs(4096, Network::None);
        assert_eq!(both.beyond("q", &wish, at(24)), None);
        assert!(both.beyond("q", &wish, at(25)).is_some());
        assert!(both.takes(&name("large"), "q", &wish, at(25)), "of itself it knows what it takes");
        assert_eq!(both.beyond("q", &wish, at(48)), None, "nobody is left whom one could ask");
    }

    #[test]
    fn an_image_is_left_to_a_worker_that_takes_the_rest_too() {
        let mut known = offers(&[("q", Some(offer(64, Network::None)))]);
        let bare = Offer { images: [].into(), ..offer(4096, Network::None) };
        known.note(&name("bare"), said("q", Some(bare)), at(0), at(0));
        let wish = |memory| Demand { image: Some("gcc".into()), ..needs(memory, Network::None) };
        let takes =
            |queue: &str, memory, hour| known.takes(&name("bare"), queue, &wish(memory), at(hour));
        assert!(!takes("q", 64, 1), "the other has it");
        for (queue, memory) in [("q", 64), ("q", 65), ("q", 5000), ("elsewhere", 64)] {
            let lacks = known.lacks(&name("bare"), queue, &wish(memory), at(1));
            assert_eq!(lacks.is_empty(), takes(queue, memory, 1), "{queue} {memory}: {lacks:?}");
        }
        assert!(takes("q", 65, 1), "the other cannot take it");
        assert!(takes("elsewhere", 64, 1), "the other does not serve that queue");
        assert!(takes("q", 64, 25), "the other is gone");
        known.note_drain(&name("w0"), true);
        let wish = wish(64);
        assert!(known.takes(&name("bare"), "q", &wish, at(1)), "the other is being drained");
    }

    #[test]
    fn a_label_that_is_required_must_be_there_with_its_value() {
        let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
        };
        let mut known = Offers::default();
        let both = labels(&[("gpu", "yes"), ("zone", "a")]);
        let old = Registration { labels: both.clone(), ..said("q", None) };
        let labelled = Registration { labels: both, ..said("q", Some(offer(64, Network::None))) };
        known.note(&name("old"), old, at(0), at(0));
        known.note(&name("labelled"), labelled, at(0), at(0));
        known.note(&name("bare"), said("q", Some(offer(64, Network::None))), at(0), at(0));
        let takes = |worker: &str, pairs: &[(&str, &str)]| {
            let demand = Demand { requires: labels(pairs), ..Demand::default() };
            known.takes(&name(worker), "q", &demand, at(0))
        };
        let demand = Demand { requires: labels(&[("gpu", "no")]), ..needs(65, Network::Bridge) };
        let lacks = known.lacks(&name("labelled"), "q", &demand, at(0));
        let whats: Vec<_> = lacks.iter().map(|lack| lack.what).collect();
        assert_eq!(whats, [LackOf::Label, LackOf::Limit, LackOf::Limit], "{lacks:?}");
        assert_eq!(lacks[0].text, "lacks the label gpu=no");
        for worker in ["old", "labelled"] {
            assert!(
                takes(worker, &[("gpu", "yes")]) && takes(worker, &[("gpu", "yes"), ("zone", "a")])
            );
            assert!(
                !takes(worker, &[("gpu", "")]) && !takes(worker, &[("gpu", "yes"), ("zone", "b")])
            );
            assert!(!takes(worker, &[("disk", "ssd")]));
        }
        for worker in ["bare", "never-heard-of"] {
            assert!(!takes(worker, &[("gpu", "yes")]) && takes(worker, &[]), "{worker}");
        }
    }

    #[test]
    fn an_image_is_not_left_to_a_worker_without_the_labels() {
        let mut known = offers(&[("q", Some(offer(64, Network::None)))]);
        let bare = Offer { images: [].into(), ..offer(64, Network::None) };
        let labels: BTreeMap<_, _> = [("zone".to_owned(), "a".to_owned())].into();
        let said = Registration { labels: labels.clone(), ..said("q", Some(bare)) };
        known.note(&name("bare"), said, at(0), at(0));
        let wish = |requires| Demand { image: Some("gcc".into()), requires, ..Demand::default() };
        assert!(!known.takes(&name("bare"), "q", &wish(BTreeMap::new()), at(1)));
        assert!(known.takes(&name("bare"), "q", &wish(labels), at(1)));
    }

    #[test]
    fn what_was_said_last_counts_and_only_a_change_is_new() {
        let mut known = Offers::default();
        let (small, large) = (offer(64, Network::None), offer(4096, Network::None));
        let mut note = |offer: &Offer, registered, seen| {
            let said = said("q", Some(offer.clone()));
            known.note(&name("w"), said, at(registered), at(seen))
        };
        assert!(note(&small, 1, 1));
        assert!(!note(&small, 2, 2));
        assert!(note(&large, 3, 3));
        assert!(!note(&small, 2, 30), "it was read before the worker said more");
        assert!(known.takes(&name("w"), "q", &needs(4096, Network::None), at(3)));
        assert!(known.beyond("q", &needs(8192, Network::None), at(54)).is_some(), "seen at 30");
    }
}
