//! What goes wrong under a store that is open.

use std::{
    fs,
    time::{Duration, Instant},
};

use orchestra_contracts::{JobId, Size};

use super::{Place, at, specs};
use crate::{
    domain::JobEvent,
    store::{
        JobFilter, LogCodec, Store as _, StoreError,
        sqlite::{
            disk_space::DiskSpace,
            open::{prepare, start, write_link},
        },
    },
};

/// Pages that the database may have: more than the empty schema needs, soon full.
const FULL_AT: &str = "PRAGMA max_page_count = 60";
const ROOM_AGAIN: usize = 10;

#[tokio::test]
async fn a_full_disk_fails_writes_only_and_heals() {
    let place = Place::new();
    let (lock, _) = prepare(&place.path).await.unwrap();
    let link = write_link(&place.path).unwrap();
    link.execute_batch(FULL_AT).unwrap();
    let disk_space = DiskSpace::of(&place.path, Size(0));
    let store = start(&place.path, lock, link, disk_space, LogCodec::default()).await.unwrap();
    let mut stored = 0;
    let error = loop {
        match store.insert(specs(100), at(0).now).await {
            Ok(jobs) => stored += jobs.len(),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::NoRoom { .. }), "{error:?}");
    assert!(error.to_string().contains("full; make room on its disk"), "{error}");
    assert!(stored > 0);
    let all = JobFilter { limit: 100_000, ..JobFilter::default() };
    assert_eq!(store.jobs(&all).await.unwrap().len(), stored, "reads go on, nothing is half done");
    for job in store.jobs(&JobFilter { limit: 100, ..all.clone() }).await.unwrap() {
        let delete = JobEvent::DeleteRequested;
        store.apply(job.id, delete, at(1)).await.unwrap();
    }
    // Whether there is room again is looked at once a second.
    let begun = Instant::now();
    while let Err(error) = store.insert(specs(ROOM_AGAIN), at(2).now).await {
        assert!(matches!(error, StoreError::NoRoom { .. }), "{error:?}");
        assert!(begun.elapsed() < Duration::from_secs(30), "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(store.jobs(&all).await.unwrap().len(), stored - 100 + ROOM_AGAIN);
    store.check().await.unwrap();
}

/// As after a forced remount.
#[tokio::test]
async fn a_database_that_is_read_only_says_so_and_is_read_on() {
    let place = Place::new();
    let (lock, _) = prepare(&place.path).await.unwrap();
    let link = write_link(&place.path).unwrap();
    link.execute_batch("PRAGMA query_only = ON").unwrap();
    let disk_space = DiskSpace::of(&place.path, Size(0));
    let store = start(&place.path, lock, link, disk_space, LogCodec::default()).await.unwrap();
    store.check().await.unwrap();
    let error = store.insert(specs(1), at(0).now).await.unwrap_err();
    assert!(error.to_string().contains("make its file and folder writable"), "{error}");
    let error = store.check().await.unwrap_err();
    assert!(error.to_string().contains("make its file and folder writable"), "{error}");
    assert!(store.workers().await.unwrap().is_empty(), "reads go on");
}

#[tokio::test]
async fn writes_into_a_file_that_is_gone_are_refused() {
    let place = Place::new();
    let store = place.open().await;
    store.insert(specs(1), at(0).now).await.unwrap();
    let aside = place.folder.path().join("aside.db");
    fs::rename(&place.path, &aside).unwrap();
    for _ in 0..2 {
        let read = store.job(JobId(1)).await.unwrap_err();
        assert!(read.to_string().contains("is not the file that was opened"), "{read}");
        let error = store.insert(specs(1), at(0).now).await.unwrap_err();
        assert!(error.to_string().contains("is not the file that was opened"), "{error}");
        assert!(store.check().await.is_err());
        fs::write(&place.path, "").unwrap();
    }
    fs::rename(&aside, &place.path).unwrap();
    store.check().await.unwrap();
    store.insert(specs(1), at(0).now).await.unwrap();
    assert_eq!(store.jobs(&JobFilter { limit: 9, ..JobFilter::default() }).await.unwrap().len(), 2);
}
