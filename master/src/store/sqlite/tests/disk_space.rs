//! The mark below which no new work is taken, and the reserve for what has begun.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    time::{Duration, Instant},
};

use orchestra_contracts::{AttemptNo, NewSchedule, Outcome, Size, worker::LeaseRef};

use super::{Place, SqliteStore, at, claim, specs};
use crate::{
    domain::{AttemptResults, JobEvent, LeasePolicy, Proof},
    store::{LogCodec, ScheduleRecord, Store as _, StoreError, sqlite::disk_space::DiskSpace},
};

/// What had begun can end when not a page is left: its room was kept for it.
#[tokio::test]
async fn the_reserve_is_given_up_once_and_taken_back() {
    let place = Place::new();
    let disk_space = DiskSpace::of(&place.path, Size(0));
    disk_space.reserve();
    let reserve = place.folder.path().join("jobs.db.reserve");
    let size = fs::metadata(&reserve).unwrap();
    assert!(size.len() > 0 && size.blocks() * 512 >= size.len(), "it takes up room: {size:?}");
    assert!(disk_space.give_up());
    assert!(!disk_space.give_up(), "only once");
    assert!(!reserve.exists());
    assert!(disk_space.check().is_err());
    let begun = Instant::now();
    while disk_space.check().is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(fs::metadata(&reserve).unwrap().len(), size.len());
}

#[tokio::test]
async fn no_new_work_is_taken_below_the_mark() {
    let place = Place::new();
    let store = SqliteStore::open_with(&place.path, Size(0), LogCodec::default()).await.unwrap();
    let job = store.insert(specs(2), at(0).now).await.unwrap().remove(0);
    let held = store.claim(vec![claim("before")], at(1)).await.unwrap().remove(0).remove(0);
    assert_eq!(held.id, job.id);
    store.close().await;

    // More than any disk has: the reserve stays, nothing is full.
    let store =
        SqliteStore::open_with(&place.path, Size(u64::MAX), LogCodec::default()).await.unwrap();
    let error = store.insert(specs(1), at(2).now).await.unwrap_err();
    assert!(error.to_string().contains("less than ORCHESTRA_MIN_FREE"), "{error}");
    assert!(matches!(store.check().await, Err(StoreError::NoRoom { .. })));
    let schedule = NewSchedule::new("a".parse().unwrap(), "@daily", specs(1).remove(0));
    let schedule = ScheduleRecord::new(schedule, Some(at(9).now), at(2).now);
    let added = store.add_schedule(schedule).await;
    assert!(matches!(added, Err(StoreError::NoRoom { .. })), "{added:?}");
    assert!(store.claim(vec![claim("new")], at(2)).await.unwrap()[0].is_empty());
    let again = store.claim(vec![claim("before")], at(2)).await.unwrap().remove(0);
    assert_eq!(again[0].lease(), held.lease(), "an answer that was lost is given again");
    let lease = held.lease().unwrap();
    let proof = Proof { worker: lease.worker.clone(), token: lease.token.clone(), attempt: None };
    let leases = vec![LeaseRef { job: job.id, attempt: AttemptNo(1), token: lease.token.clone() }];
    let renewed =
        store.renew(&lease.worker, leases, LeasePolicy::default(), at(3).now).await.unwrap();
    assert!(renewed.lost.is_empty());
    let outcome = Outcome::Exited { code: 0 };
    let ended = JobEvent::Ended {
        proof,
        outcome,
        usage: None,
        log: None,
        tail: None,
        results: AttemptResults::default(),
    };
    let applied = store.apply(job.id, ended, at(4)).await.unwrap().unwrap();
    assert!(applied.result.is_ok(), "what runs goes on");
    store.close().await;

    let store = SqliteStore::open_with(&place.path, Size(1), LogCodec::default()).await.unwrap();
    store.insert(specs(1), at(5).now).await.unwrap();
    assert_eq!(store.claim(vec![claim("new")], at(5)).await.unwrap()[0].len(), 1);
    store.check().await.unwrap();
}
