//! What operators decided holds: paused and bounded queues, workers that are drained.

use orchestra_contracts::{JobSpec, Outcome, QueueChange, QueueName, worker::Registration};

use super::{Held, TestStore, at, claim_spec, every_adapter, ids, spec, worker};
use crate::{
    domain::QueueRules,
    store::{Claim, ClaimSpec, QueueRecord},
};

every_adapter!(
    a_paused_queue_hands_out_nothing,
    a_queue_holds_as_many_as_it_may,
    a_bound_counts_over_all_claims_of_a_round,
    a_full_queue_holds_up_no_other,
    a_bound_is_kept_over_retries_and_losses,
    what_was_decided_of_a_queue_is_kept,
    queues_are_counted,
    those_ahead_are_counted,
    a_drained_worker_is_handed_nothing_new,
    of_many_who_wait_the_drained_one_gets_nothing,
    a_drain_is_kept_until_it_is_lifted,
);

fn queue(name: &str) -> QueueName {
    name.parse().unwrap()
}

fn of(queue: &str) -> JobSpec {
    JobSpec { queue: queue.into(), ..spec("true") }
}

async fn pause(store: &TestStore, name: &str, paused: bool) -> QueueRules {
    let change = QueueChange { paused: Some(paused), ..QueueChange::default() };
    store.change_queue(&queue(name), change, at(5).now).await.unwrap()
}

async fn bound(store: &TestStore, name: &str, most: Option<u32>) -> QueueRules {
    let change = QueueChange { concurrency: Some(most), ..QueueChange::default() };
    store.change_queue(&queue(name), change, at(5).now).await.unwrap()
}

/// From the queues `x` and `y`.
fn claim_spec_of_both(name: &str, slots: usize) -> ClaimSpec {
    ClaimSpec { queues: vec!["x".into(), "y".into()], ..claim_spec(name, slots) }
}

fn from_both(name: &str, slots: usize) -> Claim {
    claim_spec_of_both(name, slots).into()
}

async fn claimed(store: &TestStore, claims: Vec<Claim>) -> Vec<Vec<i64>> {
    let answers = store.claim(claims, at(6)).await.unwrap();
    answers.iter().map(|jobs| ids(jobs)).collect()
}

async fn end(store: &TestStore, id: i64, outcome: Outcome) {
    let held = Held { job: store.read(orchestra_contracts::JobId(id)).await };
    store.event(held.job.id, held.ended(outcome), at(6)).await;
}

async fn a_paused_queue_hands_out_nothing(store: TestStore) {
    store.insert(["x", "y", "x"].map(of).into(), at(0).now).await.unwrap();
    let rules = pause(&store, "x", true).await;
    assert_eq!(rules, QueueRules { paused_since: Some(at(5).now), concurrency: None });
    assert_eq!(
        claimed(&store, vec![from_both("a", 9), from_both("b", 9)]).await,
        [vec![2], vec![]]
    );
    pause(&store, "x", false).await;
    assert_eq!(claimed(&store, vec![from_both("a", 9)]).await, [vec![1, 3]]);
}

async fn a_queue_holds_as_many_as_it_may(store: TestStore) {
    store.insert(vec![of("x"); 6], at(0).now).await.unwrap();
    bound(&store, "x", Some(2)).await;
    assert_eq!(claimed(&store, vec![from_both("a", 9)]).await, [vec![1, 2]]);
    assert_eq!(claimed(&store, vec![from_both("b", 9)]).await, [vec![0; 0]]);
    end(&store, 1, Outcome::Exited { code: 0 }).await;
    assert_eq!(claimed(&store, vec![from_both("b", 9)]).await, [vec![3]]);
    bound(&store, "x", Some(1)).await;
    end(&store, 2, Outcome::Exited { code: 0 }).await;
    assert_eq!(claimed(&store, vec![from_both("b", 9)]).await, [vec![0; 0]], "one is held still");
    bound(&store, "x", None).await;
    assert_eq!(claimed(&store, vec![from_both("b", 9)]).await, [vec![4, 5, 6]]);
}

async fn a_bound_counts_over_all_claims_of_a_round(store: TestStore) {
    store.insert(vec![of("x"); 6], at(0).now).await.unwrap();
    bound(&store, "x", Some(3)).await;
    let claims = vec![from_both("a", 2), from_both("b", 2), from_both("c", 2)];
    assert_eq!(claimed(&store, claims).await, [vec![1, 2], vec![3], vec![]]);
}

async fn a_full_queue_holds_up_no_other(store: TestStore) {
    let first = |priority, queue| JobSpec { priority, ..of(queue) };
    let jobs = vec![first(9, "x"), first(9, "x"), first(0, "y"), first(5, "x"), first(1, "y")];
    store.insert(jobs, at(0).now).await.unwrap();
    bound(&store, "x", Some(1)).await;
    assert_eq!(claimed(&store, vec![from_both("a", 2)]).await, [vec![1, 5]]);
    assert_eq!(claimed(&store, vec![from_both("a", 2)]).await, [vec![3]]);
}

async fn a_bound_is_kept_over_retries_and_losses(store: TestStore) {
    store.insert(vec![of("x"); 2], at(0).now).await.unwrap();
    bound(&store, "x", Some(1)).await;
    assert_eq!(claimed(&store, vec![from_both("a", 9)]).await, [vec![1]]);
    end(&store, 1, Outcome::HandedBack).await;
    assert_eq!(claimed(&store, vec![from_both("a", 9)]).await, [vec![1]]);
    store.expire(at(1000), 9).await.unwrap();
    assert_eq!(
        claimed(&store, vec![from_both("a", 9)]).await,
        [vec![2]],
        "job 1 waits for its retry"
    );
}

async fn what_was_decided_of_a_queue_is_kept(mut store: TestStore) {
    pause(&store, "x", true).await;
    let rules = bound(&store, "x", Some(7)).await;
    assert_eq!(rules, QueueRules { paused_since: Some(at(5).now), concurrency: Some(7) });
    store.reopen().await;
    store.submit(of("x")).await;
    assert_eq!(claimed(&store, vec![from_both("a", 9)]).await, [vec![0; 0]]);
    let record = QueueRecord { name: queue("x"), rules, pending: 1, held: 0 };
    assert_eq!(store.queues().await.unwrap(), [record]);
}

async fn queues_are_counted(store: TestStore) {
    assert_eq!(store.queues().await.unwrap(), []);
    let jobs = ["x", "x", "y", "x", "z"].map(of);
    store.insert(jobs.into(), at(0).now).await.unwrap();
    let rules = bound(&store, "a", Some(1)).await;
    claimed(&store, vec![from_both("a", 3)]).await;
    end(&store, 1, Outcome::Exited { code: 0 }).await;
    let none = QueueRules::default();
    let record =
        |(name, rules, pending, held)| QueueRecord { name: queue(name), rules, pending, held };
    let due = [("a", rules, 0, 0), ("x", none, 1, 1), ("y", none, 0, 1), ("z", none, 1, 0)];
    assert_eq!(store.queues().await.unwrap(), due.map(record));
}

async fn those_ahead_are_counted(store: TestStore) {
    let first = |priority, queue| JobSpec { priority, ..of(queue) };
    let put_off = JobSpec { not_before: Some(at(100).now), ..first(9, "x") };
    let jobs = vec![of("x"), of("x"), first(5, "x"), of("y"), put_off, first(-1, "x")];
    let jobs = store.insert(jobs, at(0).now).await.unwrap();
    let mut ahead = Vec::new();
    for job in &jobs {
        ahead.push(store.ahead(job).await.unwrap());
    }
    assert_eq!(ahead, [1, 2, 0, 0, 0, 3]);
    claimed(&store, vec![from_both("a", 2)]).await;
    assert_eq!(store.ahead(&jobs[5]).await.unwrap(), 1);
}

async fn a_drained_worker_is_handed_nothing_new(store: TestStore) {
    assert_eq!(store.drain(&worker("a"), true, at(5).now).await.unwrap(), None, "it is unknown");
    store.register(&worker("a"), Registration::default(), at(1).now).await.unwrap();
    store.insert(vec![of("x"); 4], at(0).now).await.unwrap();
    let named = ClaimSpec { request_id: Some("one".into()), ..claim_spec_of_both("a", 1) };
    let named = Claim::from(named);
    assert_eq!(claimed(&store, vec![named.clone()]).await, [vec![1]]);
    let drained = store.drain(&worker("a"), true, at(5).now).await.unwrap();
    assert_eq!(drained, Some(Some(at(5).now)));
    let claims = vec![from_both("a", 9), from_both("b", 1)];
    assert_eq!(claimed(&store, claims).await, [vec![], vec![2]]);
    assert_eq!(claimed(&store, vec![named]).await, [vec![1]], "what it was handed before is its");
    end(&store, 1, Outcome::Exited { code: 0 }).await;
    assert_eq!(store.drain(&worker("a"), false, at(7).now).await.unwrap(), Some(None));
    assert_eq!(claimed(&store, vec![from_both("a", 9)]).await, [vec![3, 4]]);
}

async fn of_many_who_wait_the_drained_one_gets_nothing(store: TestStore) {
    store.register(&worker("a"), Registration::default(), at(1).now).await.unwrap();
    store.drain(&worker("a"), true, at(5).now).await.unwrap();
    store.insert(vec![of("x"); 101], at(0).now).await.unwrap();
    let others = (0..100).map(|number| from_both(&format!("b{number}"), 1));
    let claims = std::iter::once(from_both("a", 1)).chain(others).collect();
    let shares = claimed(&store, claims).await;
    assert!(shares[0].is_empty(), "{shares:?}");
    assert!(shares[1..].iter().all(|share| share.len() == 1), "{shares:?}");
}

async fn a_drain_is_kept_until_it_is_lifted(mut store: TestStore) {
    store.register(&worker("a"), Registration::default(), at(1).now).await.unwrap();
    store.drain(&worker("a"), true, at(5).now).await.unwrap();
    let again = store.drain(&worker("a"), true, at(9).now).await.unwrap();
    assert_eq!(again, Some(Some(at(5).now)), "since the first time");
    store.register(&worker("a"), Registration::default(), at(10).now).await.unwrap();
    store.reopen().await;
    assert_eq!(store.workers().await.unwrap()[0].draining_since, Some(at(5).now));
    store.submit(of("x")).await;
    assert_eq!(claimed(&store, vec![from_both("a", 9)]).await, [vec![0; 0]]);
}
