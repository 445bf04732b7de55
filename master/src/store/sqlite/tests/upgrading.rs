//! What an earlier version wrote is read by this one.

use orchestra_contracts::{
    AttemptNo, JobId, JobStatus, LeaseToken, Outcome, Size,
    frame::{Body, Frame, Frames},
};
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use super::{Place, at, claim, specs};
use crate::{
    domain::{AttemptResults, JobEvent, Proof},
    store::{
        LogCodec, Order, SqliteStore, Store as _, conformance::compiler_log,
        sqlite::open::MIGRATIONS,
    },
};

/// In the words of the first version; later ones only add to them.
const ROWS: &str = r#"
    INSERT INTO job
        (spec, queue, priority, status, created_at, attempts, worker, outcome, finished_at)
    VALUES ('{"command":"true"}', 'default', 0, 'Completed', 1000, 1, 'w',
            '{"kind":"exited","code":0}', 3000),
           ('{"command":"next","priority":5}', 'default', 5, 'Pending', 1000, 0, NULL, NULL, NULL);
    INSERT INTO job (spec, queue, priority, status, created_at, not_before, attempts, retries)
    VALUES ('{"command":"again","maxRetries":1}', 'default', 9, 'Pending', 1000, 8000, 0, 1);
    INSERT INTO attempt
        (job_id, number, worker, token, claimed_at, ended_at, outcome, log_offset, log_output)
    VALUES (1, 1, 'w', 't', 2000, 3000, '{"kind":"exited","code":0}', 15, 2);
    INSERT INTO log_chunk (job_id, attempt, log_offset, stdout, stderr, system, frames)
    VALUES (1, 1, 0, 2, 0, 0, x'01010000000000000002000000686a');
    INSERT INTO job (spec, queue, priority, status, created_at, attempts, worker, token, expires_at, stop)
    VALUES ('{"command":"held"}', 'default', 0, 'Running', 1000, 1, 'w', 'held-token', 90000, 'No');
    INSERT INTO attempt (job_id, number, worker, token, claimed_at, started_at)
    VALUES (4, 1, 'w', 'held-token', 2000, 2000);
    INSERT INTO worker (name, registration, registered_at, seen_at)
    VALUES ('w', '{"slots":1,"queues":["default"],"version":"0"}', 500, 3000);
"#;

#[tokio::test]
async fn rows_of_each_earlier_schema_are_read() {
    for version in MIGRATIONS.iter().map(|one| one.version) {
        let place = Place::new();
        let options = SqliteConnectOptions::new().filename(&place.path).create_if_missing(true);
        let mut earlier = options.connect().await.unwrap();
        MIGRATIONS.run_direct(Some(version), &mut earlier, false).await.unwrap();
        sqlx::raw_sql(ROWS).execute(&mut earlier).await.unwrap();
        earlier.close().await.unwrap();

        let store = place.open().await;
        let job = store.job(JobId(1)).await.unwrap().unwrap();
        assert_eq!((job.status(), job.attempts), (JobStatus::Completed, 1), "{version}");
        assert_eq!(store.attempts(JobId(1)).await.unwrap().len(), 1, "{version}");
        let all = store.log_chunks(JobId(1), AttemptNo(1), 0..u64::MAX, Order::Ascending, 9).await;
        let frames: Vec<_> = Frames::new(all.unwrap().remove(0).frames).collect();
        assert!(
            matches!(&frames[..], [Ok(Frame { body: Body::Bytes(_, text), .. })] if &text[..] == b"hj"),
            "{version}: {frames:?}"
        );
        assert_eq!(store.workers().await.unwrap()[0].name.as_str(), "w", "{version}");
        assert_eq!(store.workers().await.unwrap()[0].draining_since, None, "{version}");
        assert_eq!(store.queues().await.unwrap()[0].pending, 2, "{version}");
        assert!(store.schedules().await.unwrap().is_empty(), "{version}");
        assert!(store.tokens().await.unwrap().is_empty(), "{version}");
        assert!(store.artifacts(JobId(1), AttemptNo(1), None).await.unwrap().is_empty());
        assert_eq!(store.changes(JobId(1), AttemptNo(1)).await.unwrap(), None, "{version}");
        assert!(store.webhooks().await.unwrap().is_empty(), "{version}");
        // Who held a job before ends it now.
        let proof = Proof {
            worker: "w".parse().unwrap(),
            token: LeaseToken::new("held-token"),
            attempt: Some(AttemptNo(1)),
        };
        let ended = JobEvent::Ended {
            proof,
            outcome: Outcome::Exited { code: 0 },
            usage: None,
            log: None,
            tail: None,
            results: AttemptResults::default(),
        };
        let applied = store.apply(JobId(4), ended, at(6)).await.unwrap().unwrap();
        assert!(applied.result.is_ok(), "{version}: {applied:?}");
        let next = store.job(JobId(2)).await.unwrap().unwrap();
        assert_eq!((next.status(), next.spec.priority), (JobStatus::Pending, 5), "{version}");
        let jobs = store.claim(vec![claim("early")], at(7)).await.unwrap().remove(0);
        assert_eq!(jobs[0].id, JobId(2), "{version}: the retry waits");
        let jobs = store.claim(vec![claim("late")], at(8)).await.unwrap().remove(0);
        assert_eq!(jobs[0].id, JobId(3), "{version}");
        store.insert(specs(1), at(9).now).await.unwrap();
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_are_packed_as_the_setting_says() {
    for (codec, is_zstd) in [(LogCodec::Lz4, false), (LogCodec::Zstd, true)] {
        let place = Place::new();
        let store = SqliteStore::open_with(&place.path, Size(0), codec).await.unwrap();
        store.insert(specs(1), at(0).now).await.unwrap();
        let job = store.claim(vec![claim("a")], at(1)).await.unwrap().remove(0).remove(0);
        store.append_log(compiler_log(&job)).await.unwrap();
        store.close().await;
        let asked = sqlx::query_scalar("SELECT lower(hex(substr(frames, 1, 4))) FROM log_chunk");
        let begins: String = asked.fetch_one(&mut place.outsider().await).await.unwrap();
        assert_eq!(begins == "28b52ffd", is_zstd, "{codec}: {begins}");
    }
}
