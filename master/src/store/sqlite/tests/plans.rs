//! How SQLite finds rows: what must stay quick with a million finished jobs.

use orchestra_contracts::JobStatus;
use sqlx::{Row as _, SqliteConnection};

use super::Place;
use crate::store::{
    JobFilter, ListOrder, sql,
    sqlite::{apply, claim, ledger, list, open::prepare, renew},
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
        ["j", "job", "c", "a", "attempt", "log_chunk"]
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
    let plan = plan(&mut connection, claim::CLAIMABLE).await;
    assert!(uses(&plan, "job_claimable"), "{plan:#?}");
    assert!(!scans(&plan), "{plan:#?}");
    let sorts = plan.iter().filter(|step| step.contains("TEMP B-TREE")).count();
    assert_eq!(sorts, 1, "what is found is sorted, the queues are not: {plan:#?}");
}

#[tokio::test]
async fn hot_statements_look_rows_up() {
    let place = Place::new();
    let (_lock, mut connection) = prepare(&place.path).await.unwrap();
    for (statement, index) in [
        (apply::EXPIRED, Some("job_expiry")),
        (claim::REPEATED, Some("attempt_request")),
        (sql::HELD_JOBS, Some("job_expiry")),
        (renew::RENEW, None),
        (ledger::LOAD, None),
        (ledger::UPDATE_JOBS, None),
        (ledger::WRITE_ATTEMPTS, None),
        (ledger::DELETE_JOBS, None),
        (sql::LOG_CHUNKS, None),
        (sql::LOG_CHUNKS_BACKWARDS, None),
    ] {
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
        let plan = plan(&mut connection, list::query(&filter).sql().as_str()).await;
        assert!(uses(&plan, index), "{status}: {plan:#?}");
        assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{status}: {plan:#?}");
    }
}
