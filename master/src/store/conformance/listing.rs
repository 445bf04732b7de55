//! Lists: filters, orders, pages.

use orchestra_contracts::{
    JobId, JobSpec,
    JobStatus::{self, Assigned, Cancelled, Completed, Failed, Pending, Running},
    Outcome,
};

use super::{TestStore, at, claim, every_adapter, ids, spec, waiting::submit, worker};
use crate::{
    domain::JobEvent,
    store::{JobFilter, ListOrder},
};

every_adapter!(
    pages_neither_repeat_nor_skip,
    pages_in_claiming_order,
    by_status,
    by_queue_worker_and_label,
    by_text,
    by_array,
    filters_go_together,
);

async fn list(store: &TestStore, filter: JobFilter) -> Vec<i64> {
    ids(&store.jobs(&JobFilter { limit: 100, ..filter }).await.unwrap())
}

/// Reads page after page of three.
async fn pages(store: &TestStore, filter: JobFilter) -> Vec<i64> {
    let mut all = Vec::new();
    loop {
        let after = all.last().copied().map(JobId);
        let page = store.jobs(&JobFilter { limit: 3, after, ..filter.clone() }).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(ids(&page));
    }
}

async fn pages_neither_repeat_nor_skip(store: TestStore) {
    store.insert(vec![spec("true"); 10], at(0).now).await.unwrap();
    store.event(JobId(6), JobEvent::DeleteRequested, at(1)).await;
    let order = |order| JobFilter { order, ..JobFilter::default() };
    let oldest = pages(&store, order(ListOrder::Oldest)).await;
    assert_eq!(oldest, [1, 2, 3, 4, 5, 7, 8, 9, 10]);
    let newest = pages(&store, order(ListOrder::Newest)).await;
    assert_eq!(newest, [10, 9, 8, 7, 5, 4, 3, 2, 1]);
    assert_eq!(store.jobs(&JobFilter::default()).await.unwrap(), [], "a limit of 0");
}

async fn pages_in_claiming_order(store: TestStore) {
    let job = |priority| JobSpec { priority, ..spec("true") };
    store.insert([0, 5, -5, 0, 5, 0, -5, 0].map(job).into(), at(0).now).await.unwrap();
    let pending =
        JobFilter { statuses: vec![Pending], order: ListOrder::Claiming, ..JobFilter::default() };
    let listed = pages(&store, pending).await;
    assert_eq!(listed, [2, 5, 1, 4, 6, 8, 3, 7]);
    let claimed = store.claim(vec![claim("a", 9)], at(1)).await.unwrap().remove(0);
    assert_eq!(ids(&claimed), listed);
}

async fn by_status(store: TestStore) {
    for outcome in [Outcome::Exited { code: 0 }, Outcome::Exited { code: 1 }, Outcome::Cancelled] {
        let held = store.submit_and_claim(spec("true")).await;
        store.event(held.job.id, held.ended(outcome), at(2)).await;
    }
    let running = store.submit_and_claim(spec("true")).await;
    store.event(running.job.id, running.started(), at(2)).await;
    store.submit_and_claim(spec("true")).await;
    store.submit(spec("true")).await;
    let with =
        |statuses: &[JobStatus]| JobFilter { statuses: statuses.to_vec(), ..JobFilter::default() };
    let expected = [Completed, Failed, Cancelled, Running, Assigned, Pending];
    for (id, status) in (1..).zip(expected) {
        assert_eq!(list(&store, with(&[status])).await, [id], "{status}");
    }
    assert_eq!(list(&store, with(&[Pending, Failed])).await, [2, 6]);
    assert_eq!(list(&store, with(&[])).await, [1, 2, 3, 4, 5, 6]);
}

async fn by_queue_worker_and_label(store: TestStore) {
    let labels = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    let specs = vec![
        JobSpec { queue: "big".into(), ..spec("true") },
        JobSpec { labels: labels(&[("team.name", "red"), ("tier", "1")]), ..spec("true") },
        JobSpec { labels: labels(&[("team.name", "blue"), ("tier", "1")]), ..spec("true") },
    ];
    store.insert(specs, at(0).now).await.unwrap();
    let held = store.claim_one("w1", at(1)).await;
    let queue = |name: &str| JobFilter { queue: Some(name.into()), ..JobFilter::default() };
    assert_eq!(list(&store, queue("big")).await, [1]);
    assert_eq!(list(&store, queue("none")).await, [0; 0]);
    let labelled = |pairs: &[(&str, &str)]| JobFilter {
        labels: pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect(),
        ..JobFilter::default()
    };
    assert_eq!(list(&store, labelled(&[("tier", "1")])).await, [2, 3]);
    assert_eq!(list(&store, labelled(&[("tier", "1"), ("team.name", "blue")])).await, [3]);
    assert_eq!(list(&store, labelled(&[("team", "red")])).await, [0; 0]);
    assert_eq!(list(&store, labelled(&[("\"') --", "$")])).await, [0; 0]);
    let by = |name: &str| JobFilter { worker: Some(worker(name)), ..JobFilter::default() };
    assert_eq!(list(&store, by("w1")).await, [2], "it holds it");
    store.event(held.job.id, held.ended(Outcome::Exited { code: 0 }), at(2)).await;
    assert_eq!(list(&store, by("w1")).await, [2], "it held it last");
    assert_eq!(list(&store, by("w2")).await, [0; 0]);
}

async fn by_text(store: TestStore) {
    let named = JobSpec { name: Some("Nightly Build".into()), ..spec("make") };
    let specs =
        vec![spec("echo 100%"), spec("echo 100"), named, spec("a_b"), spec("axb"), spec(r"c\d")];
    store.insert(specs, at(0).now).await.unwrap();
    let text = |text: &str| JobFilter { text: Some(text.into()), ..JobFilter::default() };
    assert_eq!(list(&store, text("ECHO")).await, [1, 2]);
    assert_eq!(list(&store, text("100%")).await, [1]);
    assert_eq!(list(&store, text("nightly b")).await, [3]);
    assert_eq!(list(&store, text("a_b")).await, [4]);
    assert_eq!(list(&store, text(r"c\d")).await, [6]);
    assert_eq!(list(&store, text("' OR 1=1 --")).await, [0; 0]);
    assert_eq!(list(&store, text("default")).await, [0; 0], "only command and name");
}

async fn by_array(store: TestStore) {
    let of = |array| JobFilter { array: Some(JobId(array)), ..JobFilter::default() };
    let array = JobSpec { array: "7-9".parse().ok(), ..spec("true") };
    assert_eq!(submit(&store, &[spec("true"), array, spec("true")]).await, [1, 2, 3, 4, 5]);
    assert_eq!(list(&store, of(2)).await, [2, 3, 4]);
    assert_eq!(pages(&store, JobFilter { order: ListOrder::Newest, ..of(2) }).await, [4, 3, 2]);
    for none in [1, 3, 5, i64::MAX] {
        assert_eq!(list(&store, of(none)).await, [0; 0], "{none}");
    }
}

async fn filters_go_together(store: TestStore) {
    let specs = (1..=6).map(|n| JobSpec {
        queue: if n % 2 == 0 { "even" } else { "odd" }.into(),
        ..spec(&format!("echo {n}"))
    });
    store.insert(specs.collect(), at(0).now).await.unwrap();
    let filter = JobFilter {
        statuses: vec![Pending],
        queue: Some("even".into()),
        text: Some("echo".into()),
        order: ListOrder::Newest,
        after: Some(JobId(6)),
        ..JobFilter::default()
    };
    assert_eq!(list(&store, filter).await, [4, 2]);
}
