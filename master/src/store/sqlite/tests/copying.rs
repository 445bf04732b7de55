//! Backups, and what a master finds that goes on from one.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::Path,
};

use orchestra_contracts::{JobId, JobSpec, JobStatus, Outcome, Role, Span};
use sqlx::Connection as _;
use tokio::task::JoinSet;

use super::{Place, at, claim, specs};
use crate::{
    domain::{JobEvent, JobState},
    store::{
        Restored, SettleTerms, Store as _, StoreError, TokenGrant, TokenHash, backup, restore,
        sqlite::SqliteStore,
    },
};

const LEASE: Span = Span::from_secs(60);

impl Place {
    fn url(&self) -> String {
        format!("sqlite:{}", self.path.display())
    }

    async fn back_up(&self, name: &str) -> std::path::PathBuf {
        let file = self.folder.path().join(name);
        backup(&self.url(), &file).await.unwrap();
        file
    }

    async fn restore(&self, file: &Path, second: i64) -> Result<Restored, StoreError> {
        restore(&self.url(), file, SettleTerms { now: at(second).now, lease: LEASE }).await
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

async fn status(store: &SqliteStore, id: i64) -> JobStatus {
    store.job(JobId(id)).await.unwrap().unwrap().status()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_database_in_use_is_one_moment_of_it() {
    let place = Place::new();
    let store = std::sync::Arc::new(place.open().await);
    store.insert(specs(500), at(0).now).await.unwrap();
    let writing = store.clone();
    let mut writers = JoinSet::new();
    writers.spawn(async move {
        for _ in 0..50 {
            writing.insert(specs(10), at(1).now).await.unwrap();
        }
    });
    let file = place.folder.path().join("copy");
    let made = backup(&place.url(), &file).await.unwrap();
    writers.join_all().await;
    // Calls of ten jobs each are there as a whole or not at all.
    assert!(made.jobs >= 500 && made.jobs % 10 == 0, "{made:?}");
    assert_eq!(made.size.0, file.metadata().unwrap().len());
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(store.insert(specs(1), at(2).now).await.unwrap()[0].id, JobId(1001));
    store.close().await;
    let left = place.names().into_iter().filter(|name| name.contains("partial"));
    assert_eq!(left.count(), 0);
}

#[tokio::test]
async fn no_backup_takes_the_place_of_a_file() {
    let place = Place::new();
    place.open().await.close().await;
    let file = place.folder.path().join("precious");
    fs::write(&file, "precious").unwrap();
    let refusal = backup(&place.url(), &file).await.unwrap_err().to_string();
    assert!(refusal.contains("exists; choose another name"), "{refusal}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    let elsewhere = "sqlite:/nowhere/jobs.db";
    let refusal = backup(elsewhere, &place.folder.path().join("new")).await.unwrap_err();
    assert!(refusal.to_string().contains("there is no database"), "{refusal}");
}

#[tokio::test]
async fn what_is_no_backup_is_refused_and_leaves_all_as_it_was() {
    let place = Place::new();
    let store = place.open().await;
    store.insert(specs(3), at(0).now).await.unwrap();
    let backup = place.back_up("backup").await;
    let refusal = place.restore(&backup, 1).await.unwrap_err().to_string();
    assert!(refusal.contains("is in use by process"), "{refusal}");
    store.close().await;

    let (file, before) = (place.folder.path().join("file"), place.names().len() + 1);
    let torn = fs::read(&backup).unwrap();
    let mut newer = place.outsider_of(&backup).await;
    sqlx::query("UPDATE _sqlx_migrations SET version = 9999 WHERE version = 1")
        .execute(&mut newer)
        .await
        .unwrap();
    newer.close().await.unwrap();
    let newer = fs::read(&backup).unwrap();
    for (content, reason) in [
        (&b""[..], "is no database of Orchestra's"),
        (&b"precious"[..], "is no database of Orchestra's"),
        (&torn[..torn.len() / 2], "is damaged"),
        (&newer[..], "was written by a newer Orchestra"),
    ] {
        fs::write(&file, content).unwrap();
        let refusal = place.restore(&file, 1).await.unwrap_err().to_string();
        assert!(refusal.contains(reason), "{refusal}");
    }
    assert_eq!(place.names().len(), before, "{:?}", place.names());
    let refusal = place.restore(&place.path, 1).await.unwrap_err().to_string();
    assert!(refusal.contains("is the database itself"), "{refusal}");
    let store = place.open().await;
    assert_eq!(status(&store, 3).await, JobStatus::Pending);
    store.close().await;
}

#[tokio::test]
async fn what_ran_at_the_backup_ends_as_lost_and_begins_after_a_lease() {
    let place = Place::new();
    let store = place.open().await;
    let once = {
        let mut spec = JobSpec::new("once");
        spec.retry.on_lost = false;
        spec
    };
    let all = vec![JobSpec::new("runs"), once.clone(), JobSpec::new("waits"), once];
    store.insert(all, at(0).now).await.unwrap();
    for request in ["a", "b"] {
        assert_eq!(store.claim(vec![claim(request)], at(1)).await.unwrap()[0].len(), 1);
    }
    let file = place.back_up("backup").await;
    // After it, all go on, and more come.
    store.insert(specs(5), at(2).now).await.unwrap();
    store.close().await;

    let restored = place.restore(&file, 10).await.unwrap();
    let settled = restored.settled;
    assert_eq!((settled.lost, settled.cancelled, settled.waiting), (2, 1, 2), "{restored:?}");
    assert_eq!((restored.jobs, restored.last), (4, JobId(9)));
    let store = place.open().await;
    for (id, expected) in [
        (1, JobStatus::Pending),
        (2, JobStatus::Failed),
        (3, JobStatus::Pending),
        (4, JobStatus::Cancelled),
    ] {
        assert_eq!(status(&store, id).await, expected, "{id}");
    }
    let job = store.job(JobId(1)).await.unwrap().unwrap();
    assert!(
        matches!(&job.state, JobState::Pending { after: Some(end), .. } if end.outcome == Outcome::Lost)
    );
    let early = store.claim(vec![claim("early")], at(69)).await.unwrap().remove(0);
    assert!(early.is_empty(), "workers may still run what began after the backup: {early:?}");
    let late = store.claim(vec![claim("late")], at(70)).await.unwrap().remove(0);
    assert_eq!(late.len(), 1);
    assert_eq!(store.insert(specs(1), at(71).now).await.unwrap()[0].id, JobId(10));
    store.close().await;
    // What was there is kept, and is a database as before.
    let kept = place.outsider_of(&restored.kept.unwrap()).await;
    let mut kept = kept;
    let jobs: i64 =
        sqlx::query_scalar("SELECT count(*) FROM job").fetch_one(&mut kept).await.unwrap();
    assert_eq!(jobs, 9);
}

#[tokio::test]
async fn a_token_that_was_revoked_since_stays_revoked() {
    let place = Place::new();
    let store = place.open().await;
    let grant = |hash| {
        let hash = TokenHash([hash; 32]);
        TokenGrant { role: Role::Client, name: None, worker: None, hash }
    };
    let token = store.add_token(grant(1), at(0).now).await.unwrap();
    store.add_token(grant(2), at(0).now).await.unwrap();
    let file = place.back_up("backup").await;
    store.revoke_token(token.id, at(1).now).await.unwrap();
    store.close().await;
    assert_eq!(place.restore(&file, 2).await.unwrap().revoked, Some(1));
    let store = place.open().await;
    let revoked = store.tokens().await.unwrap().into_iter().map(|token| token.revoked_at.is_some());
    assert_eq!(revoked.collect::<Vec<_>>(), [true, false]);
    store.close().await;
}

#[tokio::test]
async fn ids_leave_a_gap_where_what_was_lost_cannot_be_read() {
    let place = Place::new();
    let store = place.open().await;
    store.insert(specs(2), at(0).now).await.unwrap();
    let file = place.back_up("backup").await;
    store.close().await;
    fs::write(&place.path, "a disk's last words").unwrap();
    let restored = place.restore(&file, 1).await.unwrap();
    assert_eq!((restored.revoked, restored.last), (None, JobId(1_000_002)));
    let store = place.open().await;
    assert_eq!(store.insert(specs(1), at(2).now).await.unwrap()[0].id, JobId(1_000_003));
    store.close().await;

    let elsewhere = Place::new();
    let restored = elsewhere.restore(&file, 1).await.unwrap();
    assert_eq!(restored.kept, None);
    assert_eq!(status(&elsewhere.open().await, 2).await, JobStatus::Pending);
}

/// `root` restores, and the master is somebody else's.
#[tokio::test]
async fn what_is_restored_belongs_to_whom_the_database_belonged() {
    let place = Place::new();
    let store = place.open().await;
    let file = place.back_up("backup").await;
    store.close().await;
    let lock = place.path.with_extension("db.lock");
    let other = 12_345;
    // Who is not root has only files of its own here, and they stay so.
    let owner = match [&place.path, &lock].map(|path| chown(path, Some(other), Some(other))) {
        [Ok(()), Ok(())] => other,
        _ => fs::metadata(&file).unwrap().uid(),
    };
    place.restore(&file, 1).await.unwrap();
    for path in [&place.path, &lock] {
        assert_eq!(fs::metadata(path).unwrap().uid(), owner, "{}", path.display());
    }

    let fresh = Place::new();
    let folder = fresh.path.parent().unwrap();
    let _ = chown(folder, Some(owner), None);
    fresh.restore(&file, 1).await.unwrap();
    for path in [fresh.path.clone(), fresh.path.with_extension("db.lock")] {
        assert_eq!(fs::metadata(&path).unwrap().uid(), owner, "{}", path.display());
    }
}

/// The file of a database never shrinks, a copy has no more than is in it. And whoever is sorry goes back, also after
/// a crash, which leaves the newest jobs in the write-ahead log.
#[tokio::test]
async fn a_copy_is_no_larger_than_what_is_in_it_and_leads_back() {
    const JOBS: usize = 500;
    let place = Place::new();
    let store = place.open().await;
    let large = JobSpec::new("x".repeat(8000));
    store.insert(vec![large; JOBS], at(0).now).await.unwrap();
    let outsider = &mut place.outsider().await;
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(outsider).await.unwrap();
    for id in 1..=JOBS as i64 {
        store.apply(JobId(id), JobEvent::DeleteRequested, at(1)).await.unwrap().unwrap();
    }
    store.insert(specs(3), at(2).now).await.unwrap();
    let file = place.back_up("backup").await;
    let size = |path: &Path| fs::metadata(path).unwrap().len();
    assert!(size(&file) * 4 < size(&place.path), "{} of {}", size(&file), size(&place.path));
    store.insert(specs(2), at(3).now).await.unwrap();

    let crashed = Place::new();
    let log = |path: &Path| path.with_extension("db-wal");
    fs::copy(&place.path, &crashed.path).unwrap();
    fs::copy(log(&place.path), log(&crashed.path)).unwrap();
    assert!(size(&log(&crashed.path)) > 0, "what came last is there alone");
    store.close().await;
    let restored = crashed.restore(&file, 10).await.unwrap();
    assert_eq!(restored.jobs, 3);
    assert!(size(&crashed.path) * 4 < size(&place.path));
    let back = crashed.restore(&restored.kept.unwrap(), 20).await.unwrap();
    assert_eq!(back.jobs, 5);
    let store = crashed.open().await;
    assert_eq!(status(&store, JOBS as i64 + 5).await, JobStatus::Pending);
    store.close().await;
}
