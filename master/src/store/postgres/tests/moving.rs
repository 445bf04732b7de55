//! An installation that moves from SQLite.

use std::collections::BTreeSet;

use orchestra_contracts::{AttemptNo, JobId, JobSpec, JobStatus, QueueName, ScheduleName, Span};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use super::{Place, at, claim, counting::numbers, ended, specs};
use crate::store::{
    JobFilter, Order, SettleTerms, SqliteStore, Store as _, settle, transfer,
    transfer::tables::TABLES,
};

/// Something in every table, and in texts and bytes what a text format has its own words for.
const ROWS: &str = r#"
    INSERT INTO job (id, spec, queue, priority, status, created_at, attempts, worker, token, expires_at, stop)
    VALUES (1, '{"command":"a\tb\\ \u0000 ü"}', 'default', 0, 'Running', 1000, 1, 'w', 't', 9000, 'No');
    INSERT INTO job (id, spec, queue, priority, status, created_at, attempts, worker, outcome, finished_at)
    VALUES (2, '{"command":"true"}', 'q', -1, 'Completed', 1000, 1, 'w', '{"kind":"exited","code":0}', 3000);
    INSERT INTO job (id, spec, queue, priority, status, created_at, waits_for)
    VALUES (3, '{"command":"true","after":[1]}', 'default', 0, 'Pending', 1000, 'jobs');
    INSERT INTO job (id, spec, queue, priority, status, created_at)
    VALUES (4, '{"command":"true"}', 'default', 0, 'Pending', 1000);
    UPDATE sqlite_sequence SET seq = 40 WHERE name = 'job';
    INSERT INTO attempt (job_id, number, worker, token, claimed_at, started_at, ended_at, outcome, tail, log_offset)
    VALUES (1, 1, 'w', 't', 2000, 2001, NULL, NULL, NULL, 0),
           (2, 1, 'w', 'u', 2000, 2001, 3000, '{"kind":"exited","code":0}',
            '{"output":"a\n","error":"\\N","truncated":false}', 15);
    INSERT INTO log_chunk VALUES (2, 1, 0, 2, 0, 0, x'01010000000000000002000000686a', NULL);
    INSERT INTO dependency VALUES (3, 1, 'afterOk');
    INSERT INTO worker VALUES ('w', '{"slots":1,"queues":["default"],"version":"0"}', 500, 3000, NULL),
                              ('W', '{"slots":1,"queues":["default"],"version":"0"}', 500, 3000, 7);
    INSERT INTO queue VALUES ('q', NULL, 3);
    INSERT INTO schedule (name, cron, time_zone, overlap, catch_up, spec, created_at, next_at)
    VALUES ('nightly', '0 3 * * *', 'UTC', 'skip', 3600000, '{"command":"true"}', 5, 900000);
    INSERT INTO token (id, role, name, hash, created_at, revoked_at)
    VALUES (7, 'client', 'é' || char(10, 9, 13, 8, 11, 12) || '\N', hex(zeroblob(32)), 1, NULL),
           (9, 'admin', NULL, replace(hex(zeroblob(32)), '0', 'b'), 1, 2);
    INSERT INTO submission VALUES (0, 'key', 'ff', '[2]', 1000);
    INSERT INTO webhook VALUES (2, 'https://a.example', '["Failed"]', NULL, '{}', 'sealed', 1);
    INSERT INTO delivery (id, webhook, job_id, status, job, created_at, due_at)
    VALUES (5, 2, 2, 'Completed', '{}', 3, 4);
    INSERT INTO artifact (id, job_id, attempt, path, bytes, hash, sha256, executable)
    VALUES (3, 2, 1, 'out/a', 3, NULL, 'cc', 1), (4, 2, 1, 'out/b', 0, x'00ff5c0a', NULL, 0);
    INSERT INTO artifact_piece VALUES (3, 0, x'5c000a');
    INSERT INTO upload VALUES (6, 'dd', 1, NULL, 9);
    INSERT INTO upload_piece VALUES (6, 0, x'00');
    INSERT INTO job_upload VALUES (2, 6);
"#;

/// An SQLite file without a master.
struct Old {
    folder: TempDir,
}

impl Old {
    async fn with(rows: &'static str) -> Self {
        let old = Self { folder: tempfile::tempdir().unwrap() };
        SqliteStore::open(old.path()).await.unwrap().close().await;
        sqlx::raw_sql(rows).execute(&mut old.connection().await).await.unwrap();
        old
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("jobs.db")
    }

    fn url(&self) -> String {
        format!("sqlite:{}", self.path().display())
    }

    async fn connection(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(self.path()).connect().await.unwrap()
    }
}

/// Also tells when a migration has brought a table, or a column to one database alone. The numbers of jobs, which SQLite's
/// master has in memory, are counted.
#[tokio::test]
async fn every_table_moves_with_every_column() {
    let Some(place) = Place::new() else { return };
    place.open().await.close().await;
    let old = Old::with("").await;
    let mut connection = old.connection().await;
    let theirs: Vec<String> = sqlx::query_scalar(
        "SELECT t.name || '.' || c.name FROM sqlite_schema AS t, pragma_table_info(t.name) AS c
         WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%' AND t.name <> '_sqlx_migrations'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    let ours = place.run(
        "SELECT table_name || '.' || column_name FROM information_schema.columns
         WHERE table_schema = 'public' AND table_name NOT IN ('_sqlx_migrations', 'job_count')",
    );
    let ours: BTreeSet<String> = ours.lines().map(str::to_owned).collect();
    assert_eq!(theirs.iter().cloned().collect::<BTreeSet<_>>(), ours);
    let moved: BTreeSet<&str> = TABLES.iter().map(|table| table.name).collect();
    let tables: BTreeSet<&str> = ours.iter().map(|name| name.split('.').next().unwrap()).collect();
    assert_eq!(moved, tables);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_on_postgresql_goes_on_where_the_other_ended() {
    let Some(place) = Place::new() else { return };
    let old = Old::with(ROWS).await;
    let before = SqliteStore::open(old.path()).await.unwrap();
    let all = JobFilter { limit: 100, ..JobFilter::default() };
    let jobs = before.jobs(&all).await.unwrap();
    let attempts = before.attempts(JobId(2)).await.unwrap();
    let in_use = transfer(&old.url(), &place.url).await.unwrap_err().to_string();
    assert!(in_use.contains("is in use by process"), "{in_use}");
    before.close().await;

    let moved = transfer(&old.url(), &place.url).await.unwrap();
    assert!(moved.rows.iter().all(|(_, rows)| *rows > 0), "{moved:?}");
    assert_eq!(moved.rows[0], ("job", 4));

    let store = place.open().await;
    assert_eq!(store.jobs(&all).await.unwrap(), jobs);
    assert_eq!(store.attempts(JobId(2)).await.unwrap(), attempts);
    let range = 0..u64::MAX;
    let log = store.log_chunks(JobId(2), AttemptNo(1), range, Order::Ascending, 9).await.unwrap();
    assert_eq!(log[0].frames.len(), 15);
    let file = store.artifact_bytes(JobId(2), AttemptNo(1), "out/a", 0).await.unwrap().unwrap();
    assert_eq!(&file[..], b"\\\0\n");
    assert_eq!(store.tokens().await.unwrap().len(), 2);
    assert_eq!(store.webhooks().await.unwrap().len(), 1);
    assert!(store.schedule(&"nightly".parse::<ScheduleName>().unwrap()).await.unwrap().is_some());
    let bound = store.queues().await.unwrap();
    let queue: QueueName = "q".parse().unwrap();
    assert!(bound.iter().any(|record| record.name == queue && record.rules.concurrency.is_some()));
    assert_eq!(numbers(&store).await, "default 2 1;");
    // Who runs a job goes on with it, and who waited for it begins.
    let applied = store.apply(JobId(1), ended(&jobs_by(&jobs, 1)), at(4)).await.unwrap().unwrap();
    assert!(applied.result.is_ok());
    let claimed = store.claim(vec![claim("w", 9)], at(5)).await.unwrap().remove(0);
    let ids: BTreeSet<i64> = claimed.iter().map(|job| job.id.0).collect();
    assert_eq!(ids, BTreeSet::from([3, 4]));
    assert_eq!(store.insert(specs(1), at(6).now).await.unwrap()[0].id, JobId(41));
    assert_eq!(store.job(JobId(1)).await.unwrap().unwrap().status(), JobStatus::Completed);
    store.close().await;

    let refusal = SqliteStore::open(old.path()).await.unwrap_err().to_string();
    assert!(refusal.contains("is missing, though a master has kept jobs in it"), "{refusal}");
    assert!(moved.kept.exists());
}

fn jobs_by(jobs: &[crate::domain::Job], id: i64) -> crate::domain::Job {
    jobs.iter().find(|job| job.id == JobId(id)).unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_with_rows_is_refused_and_a_move_that_fails_changes_nothing() {
    let Some(place) = Place::new() else { return };
    let store = place.open().await;
    store.insert(specs(1), at(0).now).await.unwrap();
    store.close().await;
    let old = Old::with(ROWS).await;
    let refusal = transfer(&old.url(), &place.url).await.unwrap_err().to_string();
    assert!(refusal.contains("the table job has rows already"), "{refusal}");
    for (from, to) in [(place.url.as_str(), place.url.as_str()), (&old.url(), &old.url())] {
        let refusal = transfer(from, to).await.unwrap_err().to_string();
        assert!(refusal.contains("only an SQLite file can be moved"), "{refusal}");
    }

    // What the other database cannot hold ends it, whatever has gone over by then.
    let place = Place::new().unwrap();
    let mut connection = old.connection().await;
    sqlx::query("UPDATE schedule SET spec = 'a' || char(0)")
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    transfer(&old.url(), &place.url).await.unwrap_err();
    assert_eq!(place.run("SELECT count(*) FROM job").trim(), "0");
    assert!(old.path().exists());
    let mut connection = old.connection().await;
    sqlx::query("UPDATE schedule SET spec = '{}'").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    transfer(&old.url(), &place.url).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_was_restored_is_settled_before_a_master_has_it() {
    let Some(place) = Place::new() else { return };
    let store = place.open().await;
    let once = {
        let mut spec = JobSpec::new("once");
        spec.retry.on_lost = false;
        spec
    };
    let all = vec![JobSpec::new("runs"), JobSpec::new("waits"), once];
    store.insert(all, at(0).now).await.unwrap();
    assert_eq!(store.claim(vec![claim("w", 1)], at(1)).await.unwrap()[0][0].id, JobId(1));
    let terms = SettleTerms { now: at(10).now, lease: Span::from_secs(60) };
    let refusal = settle(&place.url, terms).await.unwrap_err().to_string();
    assert!(refusal.contains("stop all masters first"), "{refusal}");
    store.close().await;
    // A session is gone a moment after it was closed.
    let settled = loop {
        match settle(&place.url, terms).await {
            Ok(settled) => break settled,
            Err(error) => assert!(error.to_string().contains("stop all masters"), "{error}"),
        }
    };
    assert_eq!((settled.lost, settled.cancelled, settled.waiting), (1, 1, 2));
    let store = place.open().await;
    assert_eq!(numbers(&store).await, "default 2 0;");
    let early = store.claim(vec![claim("w", 9)], at(69)).await.unwrap().remove(0);
    assert!(early.is_empty(), "{early:?}");
    assert_eq!(store.claim(vec![claim("w", 9)], at(70)).await.unwrap()[0].len(), 2);
    assert!(store.insert(specs(1), at(71).now).await.unwrap()[0].id > JobId(1_000_003));
    store.close().await;
}
