//! Who gets which job where workers do not allow all the same.

use orchestra_contracts::{
    JobSpec, Network, Outcome, Resources, Size,
    worker::{Offer, Registration},
};

use super::{Held, TestStore, at, claim, every_adapter, ids, spec, worker};
use crate::{domain::Offers, store::Claim};

every_adapter!(
    a_worker_gets_only_what_it_can_take,
    each_part_of_a_demand_counts,
    order_goes_across_demands,
    nothing_waits_behind_what_cannot_be_taken,
    claims_of_one_round_share_by_what_they_take,
    a_retry_keeps_its_demand,
    a_worker_that_says_nothing_takes_all,
    an_image_is_left_to_those_who_have_it,
    many_demands_are_one_queue,
    a_job_goes_to_a_worker_with_its_labels,
);

const SMALL: u64 = 256;
const LARGE: u64 = 4096;

fn offer(memory: u64, images: &[&str]) -> Offer {
    Offer {
        cpus: 1.0,
        memory: Size::mib(memory),
        pids: 100,
        tmp: Size::mib(64),
        network: Network::None,
        images: images.iter().map(|&image| image.to_owned()).collect(),
        references: [].into(),
        runtime: None,
        user: None,
    }
}

fn known(workers: &[(&str, Option<Offer>)]) -> std::sync::Arc<Offers> {
    let mut offers = Offers::default();
    for (name, offer) in workers {
        let queues = vec!["default".to_owned()];
        let said = Registration { slots: 1, queues, offer: offer.clone(), ..Default::default() };
        offers.note(&worker(name), said, at(0).now, at(0).now);
    }
    offers.into()
}

/// The claim of a worker among `small` and `large`.
fn by(name: &str, slots: usize) -> Claim {
    let two = [("small", Some(offer(SMALL, &[]))), ("large", Some(offer(LARGE, &[])))];
    Claim { offers: known(&two), ..claim(name, slots) }
}

fn needs(memory: u64) -> JobSpec {
    let memory = Some(Size::mib(memory));
    JobSpec { resources: Resources { memory, ..Resources::default() }, ..spec("true") }
}

async fn claimed(store: &TestStore, claim: Claim) -> Vec<i64> {
    ids(&store.claim(vec![claim], at(1)).await.unwrap().remove(0))
}

async fn a_worker_gets_only_what_it_can_take(store: TestStore) {
    store.insert(vec![needs(1024), needs(SMALL), spec("true")], at(0).now).await.unwrap();
    assert_eq!(claimed(&store, by("small", 9)).await, [2, 3]);
    assert_eq!(claimed(&store, by("small", 9)).await, [0; 0]);
    assert_eq!(claimed(&store, by("large", 9)).await, [1]);
}

async fn each_part_of_a_demand_counts(store: TestStore) {
    let asks = |resources| JobSpec { resources, ..spec("true") };
    let nothing = Resources::default();
    let beyond = vec![
        asks(Resources { cpus: Some(1.5), ..nothing }),
        asks(Resources { memory: Some(Size::mib(LARGE + 1)), ..nothing }),
        asks(Resources { pids: Some(101), ..nothing }),
        asks(Resources { tmp: Some(Size::mib(65)), ..nothing }),
        JobSpec { network: Network::Bridge, ..spec("true") },
    ];
    store.insert(beyond, at(0).now).await.unwrap();
    assert_eq!(claimed(&store, by("large", 9)).await, [0; 0]);
    let within =
        Resources { cpus: Some(1.0), pids: Some(100), tmp: Some(Size::mib(64)), memory: None };
    store.submit(asks(within)).await;
    assert_eq!(claimed(&store, by("large", 9)).await, [6]);
}

async fn order_goes_across_demands(store: TestStore) {
    let first = |priority, spec| JobSpec { priority, ..spec };
    let jobs = vec![
        needs(1),
        needs(2),
        first(5, needs(3)),
        spec("true"),
        first(5, needs(1)),
        first(-1, spec("true")),
        needs(2),
    ];
    store.insert(jobs, at(0).now).await.unwrap();
    assert_eq!(claimed(&store, by("small", 4)).await, [3, 5, 1, 2]);
    assert_eq!(claimed(&store, by("large", 4)).await, [4, 7, 6]);
}

async fn nothing_waits_behind_what_cannot_be_taken(store: TestStore) {
    let mut jobs = vec![JobSpec { priority: 9, ..needs(1024) }; 300];
    jobs.push(needs(SMALL));
    store.insert(jobs, at(0).now).await.unwrap();
    assert_eq!(claimed(&store, by("small", 2)).await, [301]);
    assert_eq!(claimed(&store, by("large", 2)).await, [1, 2]);
}

async fn claims_of_one_round_share_by_what_they_take(store: TestStore) {
    let jobs = vec![needs(1024), spec("true"), needs(1024), spec("true"), spec("true")];
    store.insert(jobs, at(0).now).await.unwrap();
    let claims = vec![by("small", 1), by("large", 2), by("small", 9), by("large", 9)];
    let answers = store.claim(claims, at(1)).await.unwrap();
    let answers: Vec<_> = answers.iter().map(|jobs| ids(jobs)).collect();
    assert_eq!(answers, [vec![2], vec![1, 3], vec![4, 5], vec![]]);
}

async fn a_retry_keeps_its_demand(store: TestStore) {
    store.submit(needs(1024)).await;
    let job = store.claim(vec![by("large", 1)], at(1)).await.unwrap().remove(0).remove(0);
    let held = Held { job };
    store.event(held.job.id, held.ended(Outcome::HandedBack), at(1)).await;
    assert_eq!(claimed(&store, by("small", 1)).await, [0; 0]);
    assert_eq!(claimed(&store, by("large", 1)).await, [1]);
}

async fn a_worker_that_says_nothing_takes_all(store: TestStore) {
    let network = JobSpec { network: Network::Bridge, ..spec("true") };
    let image = JobSpec { image: Some("gcc".into()), ..spec("true") };
    store.insert(vec![needs(1024), network, image, spec("true")], at(0).now).await.unwrap();
    let two = known(&[("old", None), ("small", Some(offer(SMALL, &["gcc"])))]);
    let old = Claim { offers: two.clone(), ..claim("old", 1) };
    assert_eq!(claimed(&store, old).await, [1]);
    let unknown = Claim { offers: two, ..claim("curl", 9) };
    assert_eq!(claimed(&store, unknown).await, [2, 3, 4]);
}

async fn an_image_is_left_to_those_who_have_it(store: TestStore) {
    let image = |image: &str| JobSpec { image: Some(image.into()), ..spec("true") };
    store.insert(vec![image("rust"), image("gcc"), image("typo")], at(0).now).await.unwrap();
    let two =
        known(&[("a", Some(offer(SMALL, &["gcc"]))), ("b", Some(offer(SMALL, &["gcc", "rust"])))]);
    let by = |name: &str| Claim { offers: two.clone(), ..claim(name, 9) };
    assert_eq!(claimed(&store, by("a")).await, [2, 3], "what nobody has, anybody may try");
    assert_eq!(claimed(&store, by("b")).await, [1]);
}

async fn a_job_goes_to_a_worker_with_its_labels(store: TestStore) {
    let zone = |zone: &str| [("zone".to_owned(), zone.to_owned())].into();
    let requires = |name: &str| JobSpec { requires: zone(name), ..spec("true") };
    let mut offers = Offers::default();
    for name in ["a", "b"] {
        let queues = vec!["default".to_owned()];
        let said = Registration { slots: 1, queues, labels: zone(name), ..Default::default() };
        offers.note(&worker(name), said, at(0).now, at(0).now);
    }
    let offers = std::sync::Arc::new(offers);
    let by = |name: &str| Claim { offers: offers.clone(), ..claim(name, 9) };
    let jobs = vec![requires("b"), requires("c"), spec("true"), requires("a"), requires("b")];
    store.insert(jobs, at(0).now).await.unwrap();
    assert_eq!(store.read(orchestra_contracts::JobId(1)).await.spec, requires("b"));
    assert_eq!(claimed(&store, by("a")).await, [3, 4]);
    assert_eq!(claimed(&store, by("curl")).await, [0; 0]);
    assert_eq!(claimed(&store, by("b")).await, [1, 5]);
}

async fn many_demands_are_one_queue(store: TestStore) {
    let jobs = (0..200).map(|number| needs(1 + number % 100)).collect();
    store.insert(jobs, at(0).now).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..50 {
        seen.extend(claimed(&store, by("small", 4)).await);
    }
    assert_eq!(seen, (1..=200).collect::<Vec<_>>());
}
