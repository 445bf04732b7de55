//! Lists of jobs: whatever filter, one statement, one page.

use orchestra_contracts::{JobId, JobStatus, limits};
use sqlx::{QueryBuilder, Sqlite};

use crate::store::{
    JobFilter, ListOrder,
    sql::{self, select_jobs},
};

/// The planner would take the index by status, and sort all that wait for each page.
const WAITING: &str = select_jobs!("FROM job AS j INDEXED BY job_pending", "WHERE true");

/// The statement for one page.
pub(super) fn query(filter: &JobFilter) -> QueryBuilder<Sqlite> {
    let waiting = filter.order == ListOrder::Claiming && filter.statuses == [JobStatus::Pending];
    let mut query = QueryBuilder::new(if waiting { WAITING } else { sql::JOBS });
    push_statuses(&mut query, filter);
    if let Some(queue) = &filter.queue {
        query.push(" AND j.queue = ").push_bind(queue.clone());
    }
    if let Some(worker) = &filter.worker {
        query.push(" AND j.worker = ").push_bind(worker.as_str().to_owned());
    }
    for (key, value) in &filter.labels {
        query.push(" AND EXISTS (SELECT 1 FROM json_each(j.spec, '$.labels') WHERE key = ");
        query.push_bind(key.clone()).push(" AND value = ").push_bind(value.clone()).push(")");
    }
    if let Some(array) = filter.array {
        push_array(&mut query, array);
    }
    if let Some(text) = &filter.text {
        push_text(&mut query, text);
    }
    if let Some(after) = filter.after {
        push_after(&mut query, filter.order, after);
    }
    query.push(match filter.order {
        ListOrder::Oldest => " ORDER BY j.id LIMIT ",
        ListOrder::Newest => " ORDER BY j.id DESC LIMIT ",
        ListOrder::Claiming => " ORDER BY j.priority DESC, j.id LIMIT ",
    });
    query.push_bind(i64::from(filter.limit));
    query
}

/// Their words stand in the text, not in parameters: only so can the planner
/// see that an index of pending jobs will do.
fn push_statuses(query: &mut QueryBuilder<Sqlite>, filter: &JobFilter) {
    match filter.statuses.as_slice() {
        [] => {}
        [status] => {
            query.push(format_args!(" AND j.status = '{status}'"));
        }
        statuses => {
            query.push(" AND j.status IN (");
            let mut words = query.separated(", ");
            for status in statuses {
                words.push(format_args!("'{status}'"));
            }
            query.push(")");
        }
    }
}

/// An array is stored at once, so its ids follow each other and few rows are looked at.
fn push_array(query: &mut QueryBuilder<Sqlite>, array: JobId) {
    let beyond = array.0.saturating_add(limits::JOBS as i64);
    query.push(" AND j.id >= ").push_bind(array.0).push(" AND j.id < ").push_bind(beyond);
    query.push(" AND j.array_id = ").push_bind(array.0);
}

/// LIKE takes ASCII letters in any case.
fn push_text(query: &mut QueryBuilder<Sqlite>, text: &str) {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    query.push(" AND (j.spec->>'command' LIKE ").push_bind(pattern.clone());
    query.push(r" ESCAPE '\' OR j.spec->>'name' LIKE ").push_bind(pattern).push(r" ESCAPE '\')");
}

/// A page goes on behind the last job of the page before, so what happens
/// between them neither repeats nor skips a job.
fn push_after(query: &mut QueryBuilder<Sqlite>, order: ListOrder, after: JobId) {
    match order {
        ListOrder::Oldest => query.push(" AND j.id > ").push_bind(after.0),
        ListOrder::Newest => query.push(" AND j.id < ").push_bind(after.0),
        ListOrder::Claiming => query
            .push(" AND (-j.priority, j.id) > (SELECT -priority, id FROM job WHERE id = ")
            .push_bind(after.0)
            .push(")"),
    };
}
