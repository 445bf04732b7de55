//! The tables: their numbers beside SQLite's, how rows are found, and what a heartbeat costs.

use std::collections::BTreeSet;

use orchestra_contracts::{AttemptNo, worker::LeaseRef};
use sqlx::{ConnectOptions as _, PgConnection, postgres::PgConnectOptions};

use super::{Place, at, claim, ended, specs};
use crate::{
    domain::{Job, LeasePolicy},
    store::{
        PostgresStore, Store as _,
        postgres::{self, open::options},
        sql, sqlite,
        statement::Statement,
        verbs::{
            apply, artifacts, claim as claims, ledger, lines, outbox, queues, release, renew,
            schedules,
        },
    },
};

/// What both have to do has the same number and the same name in both.
#[test]
fn both_databases_go_through_the_same_versions() {
    let versions = |all: &sqlx::migrate::Migrator| -> BTreeSet<(i64, String)> {
        all.iter().map(|one| (one.version, one.description.to_string())).collect()
    };
    let ours = versions(&postgres::open::MIGRATIONS);
    let baseline = ours.first().unwrap().0;
    let theirs = versions(&sqlite::MIGRATIONS);
    assert!(theirs.iter().any(|(version, _)| *version == baseline));
    let later = |all: BTreeSet<(i64, String)>| -> BTreeSet<_> {
        all.into_iter().filter(|(version, _)| *version > baseline).collect()
    };
    assert_eq!(later(ours), later(theirs));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_schema_is_refused_unless_it_only_adds() {
    let Some(place) = Place::new() else { return };
    place.open().await.close().await;
    let migrated = |version: i64, words: &str| {
        place.run(&format!(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES ({version}, '{words}', true, 'x', 0)"
        ));
    };
    migrated(9998, "additive notes");
    place.open().await.close().await;
    migrated(9999, "later");
    let refusal = PostgresStore::open(&place.url).await.expect_err("it is newer").to_string();
    assert!(
        refusal.contains("written by a newer Orchestra: its schema is at version"),
        "{refusal}"
    );
    assert!(refusal.contains("start that version"), "{refusal}");
}

/// How a statement finds its rows, whatever its values, where reading a whole table is the last resort.
async fn plan(connection: &mut PgConnection, statement: Statement) -> String {
    let prepare = format!("PREPARE it AS {}", statement.postgres);
    sqlx::raw_sql(sqlx::AssertSqlSafe(prepare)).execute(&mut *connection).await.unwrap();
    let places = (1..=9).rev().find(|place| statement.postgres.contains(&format!("${place}")));
    let nulls = vec!["NULL"; places.unwrap_or(0)].join(", ");
    let values = if nulls.is_empty() { String::new() } else { format!("({nulls})") };
    let explain = format!("EXPLAIN EXECUTE it{values}");
    let rows: Vec<String> =
        sqlx::query_scalar(sqlx::AssertSqlSafe(explain)).fetch_all(&mut *connection).await.unwrap();
    sqlx::raw_sql("DEALLOCATE it").execute(connection).await.unwrap();
    rows.join("\n")
}

/// Many jobs that have ended, each with its log, and a few that wait.
const HISTORY: &str = "
    INSERT INTO job (id, spec, queue, priority, status, created_at, attempts, outcome, finished_at)
    SELECT n, '{}', 'default', 0, CASE WHEN n % 1000 = 0 THEN 'Pending' ELSE 'Completed' END, n, 1,
           CASE WHEN n % 1000 > 0 THEN '{}' END, CASE WHEN n % 1000 > 0 THEN n END
    FROM generate_series(1, 50000) AS n;
    INSERT INTO attempt (job_id, number, worker, token, claimed_at, ended_at)
    SELECT n, 1, 'w', 't', n, n FROM generate_series(1, 50000) AS n;
    INSERT INTO log_chunk SELECT n, 1, 0, 1, 0, 0, 'x' FROM generate_series(1, 50000) AS n;
    ANALYZE";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hot_statements_look_rows_up() {
    let Some(place) = Place::new() else { return };
    let store = place.open().await;
    place.run(HISTORY);
    let options: PgConnectOptions = place.url.parse().unwrap();
    let settings = [("enable_seqscan", "off"), ("plan_cache_mode", "force_generic_plan")];
    let mut connection = options.options(settings).connect().await.unwrap();
    // Of those without a name, PostgreSQL chooses by what there is.
    for (statement, index) in [
        (lines::LINES, "job_claimable"),
        (lines::COME_DUE, ""),
        (queues::AHEAD, ""),
        (queues::RULES, ""),
        (apply::EXPIRED, "job_held"),
        (sql::HELD_JOBS, "job_held"),
        (claims::REPEATED, ""),
        (schedules::DUE, ""),
        (schedules::OPEN, ""),
        (release::WAITERS, ""),
        (release::NEXT_IN_ARRAY, ""),
        (release::UNDER_WAY, ""),
        (outbox::DUE, ""),
        (outbox::WAITING, ""),
        (outbox::LOG, ""),
        (ledger::LOAD, "job_pkey"),
        (ledger::UPDATE_JOBS, "job_pkey"),
        (renew::RENEW, "job_pkey"),
        (artifacts::TARGET, ""),
        (sql::LOG_CHUNKS, "log_chunk_pkey"),
    ] {
        let plan = plan(&mut connection, statement).await;
        assert!(plan.contains(index), "{}\n{plan}", statement.postgres);
        let scans = plan.lines().filter(|line| line.contains("Seq Scan on"));
        let scans: Vec<&str> = scans.filter(|line| !line.contains(" webhook ")).collect();
        assert!(scans.is_empty(), "{}\n{plan}", statement.postgres);
    }
    store.close().await;
}

/// Rows that sessions read of the tables of jobs, in whole tables and by index. (Entries of indices tell less: those of
/// dead rows are among them, as long as nobody has noticed.)
const READ: &str = "
    SELECT sum(seq_tup_read), sum(idx_tup_fetch)
    FROM pg_stat_user_tables WHERE relname IN ('job', 'attempt', 'log_chunk', 'dependency')";

/// Plans are made when the tables are empty, and nobody looks at them while they grow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_costs_no_more_on_a_database_that_nobody_has_analyzed() {
    const JOBS: usize = 1000;
    const AT_ONCE: usize = 5;
    let Some(place) = Place::new() else { return };
    let store = place.open().await;
    for table in ["job", "attempt", "log_chunk", "dependency", "worker", "queue"] {
        place.run(&format!("ALTER TABLE {table} SET (autovacuum_enabled = false)"));
    }
    let worker = "w".parse().unwrap();
    for second in 0..(JOBS / AT_ONCE) as i64 {
        let now = at(second);
        store.insert(specs(AT_ONCE), now.now).await.unwrap();
        let jobs = store.claim(vec![claim("w", AT_ONCE)], now).await.unwrap().remove(0);
        let lease = |job: &Job| {
            let token = job.lease().unwrap().token.clone();
            LeaseRef { job: job.id, attempt: AttemptNo(1), token }
        };
        let leases: Vec<LeaseRef> = jobs.iter().map(lease).collect();
        assert_eq!(leases.len(), AT_ONCE);
        store.renew(&worker, leases, LeasePolicy::default(), now.now).await.unwrap();
        for job in &jobs {
            let applied = store.apply(job.id, ended(job), now).await.unwrap().unwrap();
            assert!(applied.result.is_ok(), "{applied:?}");
            assert!(store.job(job.id).await.unwrap().is_some());
        }
    }
    // Sessions tell their counts at their end.
    store.close().await;
    let read: Vec<usize> =
        place.run(READ).split('|').map(|cell| cell.parse().unwrap_or_default()).collect();
    assert!(read[1] > JOBS, "the sessions have told: {read:?}");
    assert!(read[0] < JOBS, "whole tables were read: {read:?}");
    assert!(read[1] < 100 * JOBS, "whole indices were read: {read:?}");
}

/// By the planner's guess a claim is worth it, and then each takes a hundred milliseconds.
#[tokio::test]
async fn no_statement_is_compiled_whatever_the_server_does_otherwise() {
    let Some(place) = Place::new() else { return };
    place.run(&format!("ALTER DATABASE \"{}\" SET jit = on", place.name()));
    let mut connection = options(&place.url).unwrap().connect().await.unwrap();
    let compiles: String = sqlx::query_scalar("SHOW jit").fetch_one(&mut connection).await.unwrap();
    assert_eq!(compiles, "off");
}

/// A heap-only update: no index of `job` is touched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heartbeat_adds_to_no_index() {
    let Some(place) = Place::new() else { return };
    let store = place.open().await;
    store.insert(specs(1), at(0).now).await.unwrap();
    let job = store.claim(vec![claim("w", 1)], at(1)).await.unwrap().remove(0).remove(0);
    let token = job.lease().unwrap().token.clone();
    let lease = LeaseRef { job: job.id, attempt: AttemptNo(1), token };
    let updates = || {
        let row = place.run(
            "SELECT pg_stat_clear_snapshot(), n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables
             WHERE relname = 'job'",
        );
        let numbers: Vec<i64> = row.split('|').filter_map(|cell| cell.parse().ok()).collect();
        <[i64; 2]>::try_from(numbers).unwrap()
    };
    for second in 2..12 {
        let leases = vec![lease.clone()];
        let worker = "w".parse().unwrap();
        let renewed = store.renew(&worker, leases, LeasePolicy::default(), at(second).now).await;
        assert!(renewed.unwrap().lost.is_empty());
    }
    // A session tells its counts when it ends, and otherwise now and then.
    store.close().await;
    let begun = std::time::Instant::now();
    let [all, hot] = loop {
        let [all, hot] = updates();
        if all >= 11 || begun.elapsed().as_secs() > 20 {
            break [all, hot];
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    assert_eq!((all, hot), (11, 10), "the claim, and ten heartbeats");
}
