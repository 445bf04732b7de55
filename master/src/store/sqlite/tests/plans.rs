//! How SQLite finds rows: what must stay quick with a million finished jobs.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use orchestra_contracts::{JobSpec, JobStatus, Resources, Size};
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{Place, at};
use crate::store::{
    JobFilter, ListOrder, Store as _, sql,
    sqlite::open::prepare,
    verbs::{
        apply, artifacts, claim, ledger, lines, list, outbox, queues, release, renew, schedules,
        uploads,
    },
};

/// The steps of a statement's plan.
async fn plan(connection: &mut SqliteConnection, statement: &str) -> Vec<String> {
    let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
    let rows = sqlx::query(explain).fetch_all(connection).await.unwrap();
    rows.iter().map(|row| row.get("detail")).collect()
}

/// Whether a plan reads a whole table.
fn scans(plan: &[String]) -> bool {
    plan.iter().any(|step| {
        let table = step.strip_prefix("SCAN ").unwrap_or_default();
        [
            "j",
            "job",
            "c",
            "a",
            "attempt",
            "artifact",
            "artifact_piece",
            "file",
            "other",
            "piece",
            "log_chunk",
            "d",
            "due",
            "delivery",
            "schedule",
            "dependency",
            "upload",
            "upload_piece",
            "job_upload",
            "u",
        ]
        .iter()
        .any(|name| table.split(' ').next() == Some(name) && !table.contains("USING"))
    })
}

fn uses(plan: &[String], index: &str) -> bool {
    plan.iter().any(|step| step.contains(&format!("INDEX {index} ")) || step.ends_with(index))
}

#[tokio::test]
async fn claims_read_pending_jobs_only() {
    let place = Place::new();
    let (_lock, mut connection) = prepare(&place.path).await.unwrap();
    let plan = plan(&mut connection, lines::LINES.sqlite).await;
    assert!(!scans(&plan), "{plan:#?}");
    let looks = plan.iter().filter(|step| step.starts_with("SEARCH c ")).collect::<Vec<_>>();
    assert_eq!(looks.len(), 3, "the first line, the next one, the first of each: {plan:#?}");
    assert!(
        looks.iter().all(|look| look.contains("USING COVERING INDEX job_claimable (queue=?")),
        "no row of a job is read: {plan:#?}"
    );
    let sorts = plan.iter().filter(|step| step.contains("TEMP B-TREE")).count();
    assert_eq!(sorts, 1, "what is found is sorted, the lines are not: {plan:#?}");
}

/// Each line costs a look and its head, whatever waits in it, and each job that is handed
/// out one more. What is put off costs nothing before its time.
#[tokio::test]
async fn what_a_claim_costs_does_not_grow_with_a_line_that_it_passes_by() {
    let place = Place::new();
    let store = place.open().await;
    let specs = |memory: u64, count: usize| {
        let resources = Resources { memory: Some(Size::mib(memory)), ..Resources::default() };
        vec![JobSpec { resources, ..JobSpec::new("true") }; count]
    };
    store.insert(specs(8192, 20_000), at(0).now).await.unwrap();
    let put_off = JobSpec { not_before: Some(at(9).now), priority: 9, ..JobSpec::new("true") };
    store.insert(vec![put_off; 20_000], at(0).now).await.unwrap();
    store.insert(specs(64, 1), at(0).now).await.unwrap();
    store.close().await;

    let mut outsider = place.outsider().await;
    // The handler is asked after each instruction of SQLite's machine.
    let steps = Arc::new(AtomicU64::new(0));
    let counter = steps.clone();
    outsider.lock_handle().await.unwrap().set_progress_handler(1, move || {
        counter.fetch_add(1, Ordering::Relaxed);
        true
    });
    sqlx::query(lines::COME_DUE.sqlite).bind(1000).execute(&mut outsider).await.unwrap();
    let found: Vec<SqliteRow> = sqlx::query(lines::LINES.sqlite)
        .bind(r#"["default"]"#)
        .bind(1000)
        .bind(2)
        .fetch_all(&mut outsider)
        .await
        .unwrap();
    let found: Vec<(String, i64)> =
        found.iter().map(|row| (row.get("demand"), row.get("waiting"))).collect();
    let heads = [("memory=64m", 40_001), ("memory=8g", 1), ("memory=8g", 2)];
    assert_eq!(found, heads.map(|(demand, id)| (demand.to_owned(), id)));
    let steps = steps.load(Ordering::Relaxed);
    assert!((1..2000).contains(&steps), "{steps} instructions");
}

#[tokio::test]
async fn hot_statements_look_rows_up() {
    let place = Place::new();
    let (_lock, mut connection) = prepare(&place.path).await.unwrap();
    for (statement, index) in [
        (apply::EXPIRED, Some("job_expiry")),
        (claim::REPEATED, Some("attempt_request")),
        (lines::COME_DUE, Some("job_due")),
        (queues::AHEAD, Some("job_claimable")),
        (queues::RULES, Some("job_held")),
        (schedules::DUE, Some("schedule_due")),
        (schedules::OPEN, Some("job_of_schedule")),
        (sql::HELD_JOBS, Some("job_expiry")),
        (release::WAITERS, Some("dependency_upstream")),
        (release::ENDED_BEFORE, None),
        (release::NEXT_IN_ARRAY, Some("job_array")),
        (release::UNDER_WAY, Some("job_array")),
        (outbox::DUE, Some("delivery_due")),
        (outbox::WAITING, Some("delivery_due")),
        (outbox::LOG, Some("delivery_log")),
        (outbox::DROP, Some("delivery_ended")),
        (renew::RENEW, None),
        (ledger::LOAD, None),
        (ledger::UPDATE_JOBS, None),
        (ledger::WRITE_ATTEMPTS, None),
        (ledger::DELETE_JOBS, None),
        (artifacts::TARGET, None),
        (artifacts::MOVE_END, None),
        (artifacts::STORED, None),
        (artifacts::NAME, None),
        (artifacts::DROP_OTHERS, None),
        (uploads::THERE, None),
        (uploads::KEEP, None),
        (uploads::FORGET, Some("upload_touched")),
        (uploads::BYTES, None),
        (uploads::PIECE, None),
        (sql::ARTIFACTS, None),
        (sql::ARTIFACT_PIECE, None),
        (sql::CHANGES, None),
        (sql::LOG_CHUNKS, None),
        (sql::LOG_CHUNKS_BACKWARDS, None),
    ] {
        let statement = statement.sqlite;
        let plan = plan(&mut connection, statement).await;
        assert!(!scans(&plan), "{statement}\n{plan:#?}");
        assert!(index.is_none_or(|index| uses(&plan, index)), "{statement}\n{plan:#?}");
    }
}

#[tokio::test]
async fn lists_by_status_come_in_order_from_an_index() {
    let place = Place::new();
    let (_lock, mut connection) = prepare(&place.path).await.unwrap();
    for (status, order, index) in [
        (JobStatus::Pending, ListOrder::Claiming, "job_pending"),
        (JobStatus::Failed, ListOrder::Newest, "job_status"),
        (JobStatus::Running, ListOrder::Oldest, "job_status"),
    ] {
        let filter = JobFilter { statuses: vec![status], order, ..JobFilter::default() };
        let plan = plan(&mut connection, &list::Query::of(&filter, true).text).await;
        assert!(uses(&plan, index), "{status}: {plan:#?}");
        assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{status}: {plan:#?}");
    }
}
