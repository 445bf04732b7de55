//! That calls share commits, and that a write which finds other rows than it read changes nothing.

use std::{fs, time::Duration};

use bytes::BytesMut;
use futures::{future::join_all, join};
use orchestra_contracts::{
    AttemptNo, JobId, JobSpec, LeaseToken, Outcome, Span,
    frame::{Body, Frame, Stream},
    worker::LogEnd,
};

use tokio::time::sleep;

use super::{Place, SqliteStore, at, claim, specs};
use crate::{
    domain::{AttemptResults, JobEvent, NewJob, Proof},
    store::{
        BatchRequest, JobFilter, LogAppend, Report, Store as _, StoreError, Submitted,
        connection::{Connection, Link},
        sqlite::open::{prepare, write_link},
        verbs::{Insert, Verb as _, ledger::Ledger},
    },
};

/// Does `work` while the writer waits for another program with the first call in its hands, so
/// that all of the others wait for it together.
async fn behind_another<T>(place: &Place, store: &SqliteStore, work: impl Future<Output = T>) -> T {
    let mut outsider = place.outsider().await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut outsider).await.unwrap();
    let first = store.forget_uploads(at(0).now);
    let release = async {
        sleep(Duration::from_millis(100)).await;
        sqlx::query("COMMIT").execute(&mut outsider).await.unwrap();
    };
    let work = async {
        sleep(Duration::from_millis(50)).await;
        work.await
    };
    let (first, (), done) = join!(first, release, work);
    first.unwrap();
    done
}

#[tokio::test]
async fn calls_that_wait_together_share_a_commit() {
    let place = Place::new();
    let store = place.open().await;
    let inserts = join_all((0..200).map(|_| store.insert(specs(1), at(0).now)));
    let inserts = behind_another(&place, &store, inserts).await;
    let mut ids: Vec<i64> = inserts.into_iter().map(|jobs| jobs.unwrap()[0].id.0).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=200).collect::<Vec<_>>());
    let cancels = (1..=200).map(|id| store.apply(JobId(id), JobEvent::CancelRequested, at(1)));
    let cancelled = behind_another(&place, &store, join_all(cancels)).await;
    assert!(cancelled.into_iter().all(|applied| applied.unwrap().is_some()));
    assert!(store.commits() <= 4, "{} commits for 400 calls", store.commits());
}

/// The last of a log, the end, and the next claim.
#[tokio::test]
async fn what_comes_along_with_an_end_is_one_commit() {
    let place = Place::new();
    let store = place.open().await;
    store.insert(specs(2), at(0).now).await.unwrap();
    let held = store.claim(vec![claim("first")], at(1)).await.unwrap().remove(0).remove(0);
    let lease = held.lease().unwrap();
    let (worker, token) = (lease.worker.clone(), lease.token.clone());
    let (job, attempt) = (held.id, AttemptNo(1));
    let proof = Proof { worker, token, attempt: Some(attempt) };
    let mut frames = BytesMut::new();
    Frame { time: 1, body: Body::Bytes(Stream::Stdout, "x".into()) }.encode(&mut frames);
    let log = Some(LogEnd { offset: frames.len() as u64, crc32: crc32fast::hash(b"x") });
    let (outcome, results) = (Outcome::Exited { code: 0 }, AttemptResults::default());
    let rest =
        Some(LogAppend { job, attempt, proof: proof.clone(), offset: 0, frames: frames.freeze() });
    let event = JobEvent::Ended { proof, outcome, usage: None, log, tail: None, results };
    let reports = vec![Report { job, event, rest }];
    let before = store.commits();
    let claims = vec![claim("second")];
    let batch = BatchRequest { submissions: Vec::new(), reports, claims, rules: at(2) };
    let done = store.batch(batch).await;
    assert!(done.reported[0].as_ref().unwrap().as_ref().unwrap().result.is_ok());
    assert_eq!(done.claimed.unwrap()[0][0].id, JobId(2));
    assert_eq!(store.commits() - before, 1);
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
    let abandoned = async {
        let mut abandoned = Box::pin(store.insert(specs(1), at(0).now));
        assert!(futures::poll!(&mut abandoned).is_pending());
    };
    behind_another(&place, &store, abandoned).await;
    let jobs = store.insert(specs(1), at(0).now).await.unwrap();
    assert_eq!(jobs[0].id, JobId(1));
}

/// In SQLite nobody can come between; in the statements the fence stands all the same.
#[tokio::test]
async fn a_row_that_moved_meanwhile_is_not_written() {
    for (sneaked_in, event) in [
        ("UPDATE job SET token = 'another'", JobEvent::CancelRequested),
        ("UPDATE attempt SET token = 'another'", JobEvent::LeaseExpired),
        ("UPDATE attempt SET ended_at = 1", JobEvent::LeaseExpired),
        ("UPDATE job SET status = 'Running'", JobEvent::CancelRequested),
    ] {
        let place = Place::new();
        let (_lock, _) = prepare(&place.path).await.unwrap();
        let mut connection = Connection::new(Link::Sqlite(write_link(&place.path).unwrap()));
        let insert = Insert {
            jobs: specs(1).into_iter().map(NewJob::from).collect(),
            once: None,
            now: at(0).now,
        };
        let inserted = Insert::run(&mut connection, &[insert]).await.unwrap().remove(0);
        let Submitted::New(jobs) = inserted else { panic!("it is new") };
        let job = &jobs[0];
        let claimed = JobEvent::Claimed {
            worker: "worker".parse().unwrap(),
            token: LeaseToken::new("token"),
            ttl: Span::from_secs(60),
        };
        let mut ledger = Ledger::of([job.clone()]);
        ledger.apply(job.id, claimed, &at(1)).unwrap();
        ledger.save(&mut connection, at(9).now).await.unwrap();
        let mut ledger = Ledger::load(&mut connection, [job.id].into_iter()).await.unwrap();
        ledger.apply(job.id, event, &at(100)).unwrap().result.unwrap();
        connection.change_once(sneaked_in.to_owned(), Vec::new()).await.unwrap();
        let error = ledger.save(&mut connection, at(9).now).await.unwrap_err();
        assert!(error.to_string().contains("0 of 1 rows"), "{sneaked_in}: {error}");
    }
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
    let answers = behind_another(&place, &store, join_all(cancels)).await;
    for (id, answer) in (1..).zip(answers) {
        match answer {
            Err(StoreError::Corrupt { table: "job", id: 25, .. }) if id == 25 => {}
            Ok(Some(applied)) if id != 25 => assert!(applied.result.is_ok()),
            other => panic!("job {id}: {other:?}"),
        }
    }
    assert_eq!(store.commits() - before, 1 + 49, "each alone, behind the first");
    let filter = JobFilter { after: Some(JobId(25)), limit: 100, ..JobFilter::default() };
    assert_eq!(store.jobs(&filter).await.unwrap().len(), 25);
}

/// So much is written, by 32 at once.
async fn write_a_lot(store: &SqliteStore) -> u64 {
    const WRITERS: usize = 32;
    const EACH: usize = 3;
    const SIZE: usize = 64 << 10;
    let big = || vec![JobSpec { stdin: Some("x".repeat(SIZE)), ..JobSpec::new("cat") }];
    let writer = || async {
        for _ in 0..EACH {
            store.insert(big(), at(0).now).await.unwrap();
            store.job(JobId(1)).await.unwrap();
        }
    };
    join_all((0..WRITERS).map(|_| writer())).await;
    (WRITERS * EACH * SIZE) as u64
}

/// Nobody ever finds the database busy, and readers of ours are too short to
/// keep the write-ahead log from being used again. One of another program does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_write_ahead_log_grows_only_while_another_program_reads() {
    let place = Place::new();
    let store = place.open().await;
    let wal = || fs::metadata(place.folder.path().join("jobs.db-wal")).unwrap().len();
    let mut written = 0;
    for _ in 0..3 {
        written = write_a_lot(&store).await;
    }
    let usual = wal();
    assert!(usual < 2 * written, "{usual} bytes for three times {written}");

    let mut outsider = place.outsider().await;
    sqlx::query("BEGIN").execute(&mut outsider).await.unwrap();
    let _: i64 =
        sqlx::query_scalar("SELECT count(*) FROM job").fetch_one(&mut outsider).await.unwrap();
    for _ in 0..2 {
        write_a_lot(&store).await;
    }
    let grown = wal();
    assert!(grown >= 2 * written, "it could be used again: {grown} of {written}");
    sqlx::query("COMMIT").execute(&mut outsider).await.unwrap();
    for _ in 0..2 {
        write_a_lot(&store).await;
    }
    let after = wal();
    assert!(after < grown + written, "it goes on growing: {after} after {grown}");
}
