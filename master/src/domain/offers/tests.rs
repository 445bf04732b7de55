//! Which job a worker takes, depending on its offer.

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
    let two =
        offers(&[("q", Some(offer(1024, Network::None))), ("q", Some(offer(4096, Network::None)))]);
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
    assert!(refusal[0].ends_with("no worker allows that together with the rest"), "{refusal:?}");
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
        assert!(!takes(worker, &[("gpu", "")]) && !takes(worker, &[("gpu", "yes"), ("zone", "b")]));
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
