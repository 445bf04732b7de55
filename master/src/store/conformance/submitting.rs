//! A submission with a key is done once.

use futures::future::join_all;
use orchestra_contracts::{JobId, Span, TokenId};

use super::{TestStore, at, every_adapter, spec};
use crate::store::{Fingerprint, JobFilter, KEYS_KEPT, Once, Submitted};

every_adapter!(
    the_same_key_is_the_same_jobs,
    of_many_at_once_one_is_new,
    another_body_is_told_apart,
    everybody_has_keys_of_their_own,
    a_key_is_kept_for_a_day_and_over_a_restart,
    who_asks_for_a_key_keeps_none,
);

fn once(key: &str, body: u8) -> Once {
    Once { token: None, key: key.parse().unwrap(), fingerprint: Fingerprint([body; 32]) }
}

async fn submit(store: &TestStore, once: impl Into<Option<Once>>, second: i64) -> Submitted {
    let store = store.share();
    let jobs = ["true", "false"].map(|command| spec(command).into()).into();
    store.submit(jobs, once.into(), at(second).now).await.unwrap()
}

fn ids(submitted: &Submitted) -> Vec<i64> {
    match submitted {
        Submitted::New(jobs) => jobs.iter().map(|job| job.id.0).collect(),
        Submitted::Before(ids) => ids.iter().map(|JobId(id)| *id).collect(),
        other => panic!("{other:?}"),
    }
}

async fn stored(store: &TestStore) -> usize {
    store.jobs(&JobFilter { limit: 1000, ..JobFilter::default() }).await.unwrap().len()
}

async fn the_same_key_is_the_same_jobs(store: TestStore) {
    let first = submit(&store, once("a", 1), 0).await;
    assert_eq!(ids(&first), [1, 2]);
    let again = submit(&store, once("a", 1), 5).await;
    assert_eq!(again, Submitted::Before(vec![JobId(1), JobId(2)]));
    assert_eq!(ids(&submit(&store, once("b", 1), 5).await), [3, 4]);
    assert_eq!(ids(&submit(&store, None, 5).await), [5, 6]);
    assert_eq!(stored(&store).await, 6);
}

/// However they fall into transactions.
async fn of_many_at_once_one_is_new(store: TestStore) {
    let all = join_all((0..50).map(|_| submit(&store, once("a", 1), 0))).await;
    let new = all.iter().filter(|answer| matches!(answer, Submitted::New(_))).count();
    assert_eq!((new, stored(&store).await), (1, 2));
    assert!(all.iter().all(|answer| ids(answer) == [1, 2]), "{all:?}");
}

async fn another_body_is_told_apart(store: TestStore) {
    let both = [submit(&store, once("a", 1), 0), submit(&store, once("a", 2), 0)];
    let differ = |answer: &Submitted| matches!(answer, Submitted::Differs);
    assert_eq!(join_all(both).await.iter().filter(|answer| differ(answer)).count(), 1);
    assert!(differ(&submit(&store, once("a", 3), 1).await));
    assert_eq!(stored(&store).await, 2);
}

async fn everybody_has_keys_of_their_own(store: TestStore) {
    for (token, first) in [(None, 1), (Some(TokenId(1)), 3), (Some(TokenId(2)), 5)] {
        let once = Once { token, ..once("a", 1) };
        assert_eq!(ids(&submit(&store, once, 0).await)[0], first);
    }
}

async fn a_key_is_kept_for_a_day_and_over_a_restart(mut store: TestStore) {
    const DAY: i64 = 24 * 60 * 60;
    assert_eq!(KEYS_KEPT, Span::from_secs(DAY.unsigned_abs()));
    submit(&store, once("a", 1), 0).await;
    store.reopen().await;
    assert_eq!(ids(&submit(&store, once("a", 1), DAY - 1).await), [1, 2]);
    let later = submit(&store, once("a", 2), DAY).await;
    assert_eq!(ids(&later), [3, 4], "the key is free again");
}

async fn who_asks_for_a_key_keeps_none(store: TestStore) {
    let ask =
        async |body| store.share().submit(vec![], Some(once("a", body)), at(0).now).await.unwrap();
    assert_eq!(ask(1).await, Submitted::New(vec![]));
    assert_eq!(ids(&submit(&store, once("a", 2), 0).await), [1, 2]);
    assert_eq!(ask(2).await, Submitted::Before(vec![JobId(1), JobId(2)]));
    assert_eq!(ask(1).await, Submitted::Differs);
    assert_eq!(stored(&store).await, 2);
}
