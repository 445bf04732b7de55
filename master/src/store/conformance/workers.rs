//! Workers register, are seen, and show what they hold.

use orchestra_contracts::{Outcome, worker::Registration};

use super::{TTL, TestStore, at, claim, every_adapter, spec, worker};

every_adapter!(workers_are_listed_with_what_they_hold, a_heartbeat_is_seen);

fn registration(slots: u32) -> Registration {
    Registration {
        slots,
        queues: vec!["default".into()],
        version: "1.2.3".into(),
        labels: [("zone".to_owned(), "a".to_owned())].into(),
        ..Registration::default()
    }
}

async fn workers_are_listed_with_what_they_hold(store: TestStore) {
    assert_eq!(store.workers().await.unwrap(), []);
    store.register(&worker("b"), registration(1), at(1).now).await.unwrap();
    store.register(&worker("a"), registration(2), at(2).now).await.unwrap();
    store.register(&worker("b"), registration(3), at(3).now).await.unwrap();
    store.insert(vec![spec("true"); 3], at(0).now).await.unwrap();
    let held = store.claim_one("b", at(4)).await;
    store.claim(vec![claim("b", 2)], at(4)).await.unwrap();
    store.event(held.job.id, held.ended(Outcome::Exited { code: 0 }), at(5)).await;
    let workers = store.workers().await.unwrap();
    let names: Vec<_> = workers.iter().map(|worker| worker.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    let b = &workers[1];
    assert_eq!(b.registration, registration(3));
    assert_eq!((b.registered_at, b.seen_at), (at(3).now, at(3).now));
    assert_eq!(b.running.iter().map(|id| id.0).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(workers[0].running, []);
}

async fn a_heartbeat_is_seen(store: TestStore) {
    store.register(&worker("a"), registration(1), at(1).now).await.unwrap();
    let renewal = store.renew(&worker("a"), vec![], TTL, at(7).now).await.unwrap();
    assert!(!renewal.unknown);
    let seen = &store.workers().await.unwrap()[0];
    assert_eq!((seen.registered_at, seen.seen_at), (at(1).now, at(7).now));
    assert!(store.renew(&worker("b"), vec![], TTL, at(7).now).await.unwrap().unknown);
}
