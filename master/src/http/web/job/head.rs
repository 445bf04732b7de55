//! The head of the page: command, status, reasons, and actions.

use maud::{Markup, Render, html};
use orchestra_contracts::{Job, JobStatus, paths};

use super::Sheet;
use crate::http::web::text::{Block, Line, Sentence, called, moment, status, took};

pub(super) fn section(sheet: &Sheet) -> Markup {
    let job = &sheet.job;
    html! {
        section #head data-live data-final[job.status.is_final()] {
            p.crumbs { a href=(paths::JOBS_PAGE) { "Jobs" } " / " (job.id) }
            div.head {
                h1 {
                    @if job.spec.name.is_some() { (Line(&called(job))) } @else { "Job " (job.id) }
                }
                div.actions { (actions(job)) }
            }
            p.standing {
                (status(job))
                @if let Some(reason) = &job.reason { span.reason { (Line(reason)) } }
                @if job.started_at.is_some() { span.muted { (took(job)) } }
            }
            @if !job.status.is_final() { (reasons(sheet)) }
            pre.command tabindex="0" { code { (Block(&job.spec.command)) } }
            (facts(job))
        }
    }
}

/// Why the job waits, or which worker holds it.
fn reasons(sheet: &Sheet) -> Markup {
    html! {
        ul.reasons {
            @for reason in &sheet.explanation.reasons {
                li {
                    (Sentence(&reason.text))
                    @if let Some(hint) = &reason.hint { span.muted { (Sentence(hint)) } }
                }
            }
            @for warning in &sheet.explanation.warnings {
                li {
                    "Warning: " (Sentence(&warning.text))
                    span.muted { (Sentence(&warning.hint)) }
                }
            }
        }
    }
}

fn facts(job: &Job) -> Markup {
    html! {
        dl.facts {
            @if let Some((array, index)) = job.element() {
                (fact("Array", &html! { "index " (index) " of array " a href=(paths::job_page(array)) { (array) } }))
            }
            @if let Some(worker) = &job.assigned_worker { (fact("Worker", &Line(worker.as_str()))) }
            @if let Some(code) = job.exit_code { (fact("Exit code", &code)) }
            @if let Some(attempt) = job.attempt {
                (fact("Attempt", &html! {
                    (attempt)
                    @if job.spec.max_retries > 0 {
                        ", " (job.retry_count) " of " (job.spec.max_retries) " retries used"
                    }
                }))
            }
            (fact("Submitted", &moment(job.created_at)))
            @if let Some(at) = job.started_at { (fact("Started", &moment(at))) }
            @if let Some(at) = job.finished_at { (fact("Ended", &moment(at))) }
            @if let Some(at) = job.not_before.filter(|_| job.status == JobStatus::Pending) {
                (fact("Not before", &moment(at)))
            }
        }
    }
}

fn fact(name: &str, value: &dyn Render) -> Markup {
    html! { div { dt { (name) } dd { (value.render()) } } }
}

/// Buttons for what the job's state allows. A script sends each to the API.
fn actions(job: &Job) -> Markup {
    html! {
        @if job.status.is_final() {
            button data-post=(paths::retry(job.id)) data-then="reload" { "Retry" }
        } @else if !job.cancelling {
            button data-post=(paths::cancel(job.id)) { "Cancel" }
        }
        a.button href={ (paths::NEW_PAGE) "?from=" (job.id) } { "Run again with edits" }
        button.danger data-delete=(paths::job(job.id)) data-sure="Delete permanently?"
            data-then=[job.status.is_final().then_some(paths::JOBS_PAGE)] { "Delete" }
    }
}
