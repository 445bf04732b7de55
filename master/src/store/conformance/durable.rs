//! What was acknowledged is there after closing and opening again.

use orchestra_contracts::{AttemptNo, JobSpec, Outcome, worker::Registration};
use tokio::task::JoinSet;

use super::{TestStore, at, encode, every_adapter, spec, stdout, worker};
use crate::store::{JobFilter, Order, StoreError};

every_adapter!(
    a_restart_keeps_everything,
    closing_finishes_what_is_queued,
    a_closed_store_says_so,
    an_open_store_is_well,
);

async fn a_restart_keeps_everything(mut store: TestStore) {
    store.register(&worker("worker"), Registration::default(), at(1).now).await.unwrap();
    let ended = store.submit_and_claim(JobSpec { max_retries: 1, ..spec("false") }).await;
    store.append_log(ended.append(0, encode(&[stdout("log")]))).await.unwrap();
    store.event(ended.job.id, ended.ended(Outcome::Exited { code: 1 }), at(2)).await;
    let held = store.submit_and_claim(spec("true")).await;
    store.submit(spec("true")).await;
    let everything = async |store: &TestStore| {
        let filter = JobFilter { limit: 100, ..JobFilter::default() };
        let chunks = store.log_chunks(ended.job.id, AttemptNo(1), 0..u64::MAX, Order::Ascending, 9);
        (
            store.jobs(&filter).await.unwrap(),
            store.attempts(ended.job.id).await.unwrap(),
            chunks.await.unwrap(),
            store.workers().await.unwrap(),
        )
    };
    let before = everything(&store).await;
    store.reopen().await;
    assert_eq!(everything(&store).await, before);
    let applied = store.event(held.job.id, held.ended(Outcome::Exited { code: 0 }), at(9)).await;
    assert!(applied.result.is_ok(), "a worker goes on after the master's restart");
}

async fn closing_finishes_what_is_queued(mut store: TestStore) {
    let mut inserts = JoinSet::new();
    for _ in 0..100 {
        let store = store.share();
        inserts.spawn(async move { store.insert(vec![spec("true")], at(0).now).await.is_ok() });
    }
    // Some are answered, some perhaps refused; the answers must be true.
    assert!(inserts.join_next().await.unwrap().unwrap());
    store.reopen().await;
    let accepted = 1 + inserts.join_all().await.into_iter().filter(|&accepted| accepted).count();
    let filter = JobFilter { limit: 1000, ..JobFilter::default() };
    assert_eq!(store.jobs(&filter).await.unwrap().len(), accepted);
}

async fn a_closed_store_says_so(store: TestStore) {
    store.close().await;
    store.close().await;
    let error = store.insert(vec![spec("true")], at(0).now).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    let error = store.workers().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
}

async fn an_open_store_is_well(store: TestStore) {
    store.check().await.unwrap();
}
