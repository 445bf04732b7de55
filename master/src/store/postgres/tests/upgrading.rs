//! What a database of each earlier schema holds is there, and goes on, when this version has opened it.

use orchestra_contracts::{
    AttemptNo, JobId, JobStatus, Outcome,
    frame::{Body, Frames},
};
use sqlx::ConnectOptions as _;

use super::{Place, at, claim, ended, specs};
use crate::store::{
    LogCodec, Order, PostgresStore, Store as _,
    conformance::compiler_log,
    postgres::open::{MIGRATIONS, options},
};

/// In the words of the first schema; later ones only add to them. Each table has a row.
const ROWS: &str = r#"
    INSERT INTO job (id, spec, queue, priority, status, created_at, attempts, worker, outcome, finished_at)
    VALUES (1, '{"command":"true"}', 'default', 0, 'Completed', 1000, 1, 'w', '{"kind":"exited","code":0}', 3000);
    INSERT INTO job (id, spec, queue, priority, status, created_at, attempts, worker, token, expires_at, stop)
    VALUES (2, '{"command":"held"}', 'default', 0, 'Running', 1000, 1, 'w', 'held-token', 90000, 'No');
    INSERT INTO job (id, spec, queue, priority, status, created_at, waits_for)
    VALUES (3, '{"command":"next","priority":5}', 'default', 5, 'Pending', 1000, 'worker'),
           (4, '{"command":"then","after":[2]}', 'default', 0, 'Pending', 1000, 'jobs');
    SELECT setval('job_id', 4);
    INSERT INTO attempt
        (job_id, number, worker, token, claimed_at, started_at, ended_at, outcome, log_offset, log_output)
    VALUES (1, 1, 'w', 't', 2000, 2000, 3000, '{"kind":"exited","code":0}', 15, 2),
           (2, 1, 'w', 'held-token', 2000, 2000, NULL, NULL, 0, 0);
    INSERT INTO log_chunk (job_id, attempt, log_offset, stdout, stderr, system, frames)
    VALUES (1, 1, 0, 2, 0, 0, '\x01010000000000000002000000686a');
    INSERT INTO worker (name, registration, registered_at, seen_at)
    VALUES ('w', '{"slots":1,"queues":["default"],"version":"0"}', 500, 3000);
    INSERT INTO token (role, name, hash, created_at) VALUES ('client', 'somebody', repeat('ab', 32), 500);
    INSERT INTO submission (token, key, fingerprint, jobs, created_at) VALUES (0, 'k', repeat('ab', 32), '[1]', 1000);
    INSERT INTO queue (name, concurrency) VALUES ('narrow', 2);
    INSERT INTO dependency (job_id, upstream, condition) VALUES (4, 2, 'afterOk');
    INSERT INTO schedule (name, cron, time_zone, overlap, catch_up, spec, created_at, next_at)
    VALUES ('nightly', '0 3 * * *', 'UTC', 'skip', 0, '{"command":"true"}', 500, 9000);
    INSERT INTO webhook (url, ends, labels, secret, created_at)
    VALUES ('https://receiver.invalid/', '["Failed"]', '{}', 'sealed', 500);
    INSERT INTO delivery (webhook, job_id, status, job, created_at, due_at)
    VALUES (1, 1, 'Completed', '{}', 3000, 3000);
    INSERT INTO artifact (job_id, attempt, path, bytes, sha256) VALUES (1, 1, 'a', 2, repeat('ab', 32));
    INSERT INTO artifact_piece (artifact, place, content) VALUES (1, 0, 'hj');
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_each_earlier_schema_holds_goes_on() {
    for version in MIGRATIONS.iter().map(|one| one.version) {
        let Some(place) = Place::new() else { return };
        let mut earlier = options(&place.url).unwrap().connect().await.unwrap();
        MIGRATIONS.run_direct(Some(version), &mut earlier, false).await.unwrap();
        // By a session that counts no jobs, as those of before the numbers are.
        place.run(ROWS);
        drop(earlier);

        let store = place.open().await;
        let first = AttemptNo(1);
        let job = store.job(JobId(1)).await.unwrap().unwrap();
        assert_eq!((job.status(), job.attempts), (JobStatus::Completed, 1), "{version}");
        let chunks = store.log_chunks(JobId(1), first, 0..u64::MAX, Order::Ascending, 9).await;
        let frames = chunks.unwrap().remove(0).frames;
        let bodies: Vec<Body> = Frames::new(frames).map(|frame| frame.unwrap().body).collect();
        assert!(
            matches!(&bodies[..], [Body::Bytes(_, text)] if &text[..] == b"hj"),
            "{version}: {bodies:?}"
        );
        assert_eq!(store.artifacts(JobId(1), first, None).await.unwrap().len(), 1, "{version}");
        assert_eq!(store.workers().await.unwrap()[0].name.as_str(), "w", "{version}");
        assert_eq!(store.tokens().await.unwrap().len(), 1, "{version}");
        assert_eq!(store.schedules().await.unwrap()[0].what.name.as_str(), "nightly", "{version}");
        assert_eq!(store.webhooks().await.unwrap().len(), 1, "{version}");
        let counted: Vec<_> = store
            .queues()
            .await
            .unwrap()
            .into_iter()
            .map(|queue| {
                (queue.name.to_string(), queue.pending, queue.held, queue.rules.concurrency)
            })
            .collect();
        let expected = [("default".to_owned(), 2, 1, None), ("narrow".to_owned(), 0, 0, Some(2))];
        assert_eq!(counted, expected, "{version}");
        // Who held a job before ends it now, and what waited for that goes on.
        let held = store.job(JobId(2)).await.unwrap().unwrap();
        let applied = store.apply(held.id, ended(&held), at(10)).await.unwrap().unwrap();
        assert!(applied.result.is_ok(), "{version}: {applied:?}");
        let attempts = store.attempts(held.id).await.unwrap();
        assert_eq!(attempts[0].outcome, Some(Outcome::Exited { code: 0 }), "{version}");
        let next = store.claim(vec![claim("w", 2)], at(11)).await.unwrap().remove(0);
        let next: Vec<i64> = next.iter().map(|job| job.id.0).collect();
        assert_eq!(next, [3, 4], "{version}");
        let new = store.insert(specs(1), at(12).now).await.unwrap().remove(0);
        assert_eq!(new.id, JobId(5), "{version}");
        store.close().await;
        assert_eq!(place.server.miscounted(place.name()), "", "{version}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_are_packed_as_the_setting_says() {
    for (codec, is_zstd) in [(LogCodec::Lz4, false), (LogCodec::Zstd, true)] {
        let Some(place) = Place::new() else { return };
        let store = PostgresStore::open_with(&place.url, codec).await.unwrap();
        store.insert(specs(1), at(0).now).await.unwrap();
        let job = store.claim(vec![claim("w", 1)], at(1)).await.unwrap().remove(0).remove(0);
        store.append_log(compiler_log(&job)).await.unwrap();
        store.close().await;
        let begins = place.run("SELECT encode(substr(frames, 1, 4), 'hex') FROM log_chunk");
        assert_eq!(begins == "28b52ffd", is_zstd, "{codec}: {begins}");
    }
}
