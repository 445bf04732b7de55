//! The table of jobs, the same on every page.

use maud::{Markup, html};
use orchestra_contracts::{Job, paths};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::text::{Line, age, called, status, took};

pub(super) fn of_jobs(jobs: &[Job]) -> Markup {
    table(jobs, false)
}

/// The same with a checkbox in each row, for the form around it.
pub(super) fn to_choose_from(jobs: &[Job]) -> Markup {
    table(jobs, true)
}

fn table(jobs: &[Job], choosing: bool) -> Markup {
    html! {
        table.rows {
            thead { tr {
                @if choosing { th scope="col" { span.hidden { "Selected" } } }
                th scope="col" { "Status" }
                th scope="col" { "Job" }
                th scope="col" { "Queue" }
                th scope="col" { "Worker" }
                th scope="col" { "Submitted" }
                th scope="col" { "Duration" }
            } }
            tbody { @for job in jobs { (row(job, choosing)) } }
        }
    }
}

fn row(job: &Job, choosing: bool) -> Markup {
    html! {
        tr {
            @if choosing {
                td.choose {
                    input type="checkbox" name="job" value=(job.id) aria-label={ "Select job " (job.id) };
                }
            }
            td { (status(job)) }
            td.main {
                a href=(paths::job_page(job.id)) {
                    span.id { (job.id) } " "
                    @if job.spec.name.is_some() { (Line(&called(job))) }
                    @else { code { (Line(&called(job))) } }
                }
                @for (key, value) in &job.spec.labels { " " (label(key, value)) }
            }
            td.what data-name="Queue" { (Line(&job.spec.queue)) }
            td.what data-name="Worker" {
                @if let Some(worker) = &job.assigned_worker { (Line(worker.as_str())) }
            }
            td.time { (age(job.created_at)) }
            td.time.what data-name="Duration" { (took(job)) }
        }
    }
}

/// A label that links to all jobs with it.
pub(super) fn label(key: &str, value: &str) -> Markup {
    let pair = format!("{key}={value}");
    let query = utf8_percent_encode(&pair, NON_ALPHANUMERIC);
    html! { a.label href={ (paths::JOBS_PAGE) "?label=" (query) } { (Line(&pair)) } }
}

/// The address of the job list with one filter.
pub(super) fn jobs_with(name: &str, value: &str) -> String {
    format!("{}?{name}={}", paths::JOBS_PAGE, utf8_percent_encode(value, NON_ALPHANUMERIC))
}
