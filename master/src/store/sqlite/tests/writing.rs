use futures::future::join_all;
use orchestra_contracts::{JobId, JobSpec};

use super::{Place, at, specs};
use crate::{
    domain::JobEvent,
    store::{JobFilter, Store as _, StoreError},
};

/// On one thread all calls wait before the writer looks.
#[tokio::test]
async fn calls_that_wait_together_share_a_commit() {
    let place = Place::new();
    let store = place.open().await;
    let inserts = join_all((0..200).map(|_| store.insert(specs(1), at(0).now))).await;
    let mut ids: Vec<i64> = inserts.into_iter().map(|jobs| jobs.unwrap()[0].id.0).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=200).collect::<Vec<_>>());
    let cancels = (1..=200).map(|id| store.apply(JobId(id), JobEvent::CancelRequested, at(1)));
    assert!(join_all(cancels).await.into_iter().all(|applied| applied.unwrap().is_some()));
    assert!(store.commits() <= 4, "{} commits for 400 calls", store.commits());
}

#[tokio::test]
async fn a_commit_takes_no_more_than_its_share() {
    let place = Place::new();
    let store = place.open().await;
    let big = || vec![JobSpec { stdin: Some("x".repeat(1 << 20)), ..JobSpec::new("cat") }];
    for insert in join_all((0..20).map(|_| store.insert(big(), at(0).now))).await {
        insert.unwrap();
    }
    assert!(store.commits() >= 3, "{} commits for 20 MiB", store.commits());
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_is_not_done() {
    let place = Place::new();
    let store = place.open().await;
    let mut abandoned = Box::pin(store.insert(specs(1), at(0).now));
    assert!(futures::poll!(&mut abandoned).is_pending());
    drop(abandoned);
    let jobs = store.insert(specs(1), at(0).now).await.unwrap();
    assert_eq!(jobs[0].id, JobId(1));
}

#[tokio::test]
async fn a_bad_row_fails_nobody_else() {
    let place = Place::new();
    let store = place.open().await;
    store.insert(specs(50), at(0).now).await.unwrap();
    sqlx::query("UPDATE job SET spec = '{}' WHERE id = 25")
        .execute(&mut place.outsider().await)
        .await
        .unwrap();
    let before = store.commits();
    let cancels = (1..=50).map(|id| store.apply(JobId(id), JobEvent::CancelRequested, at(1)));
    for (id, answer) in (1..).zip(join_all(cancels).await) {
        match answer {
            Err(StoreError::Corrupt { table: "job", id: 25, .. }) if id == 25 => {}
            Ok(Some(applied)) if id != 25 => assert!(applied.result.is_ok()),
            other => panic!("job {id}: {other:?}"),
        }
    }
    assert_eq!(store.commits() - before, 49, "each alone");
    let filter = JobFilter { after: Some(JobId(25)), limit: 100, ..JobFilter::default() };
    assert_eq!(store.jobs(&filter).await.unwrap().len(), 25);
}
