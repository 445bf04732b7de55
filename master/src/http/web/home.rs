//! `GET /`: the overview.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use maud::{Markup, html};
use orchestra_contracts::{Job, JobStatus, Queue, paths, worker::Worker};

use super::{layout::Page, plots, table, text::age, visitor::Visitor};
use crate::{
    http::{error::ApiError, extract::NoQuery},
    service::Service,
    store::{JobFilter, ListOrder},
};

/// Number of newest jobs on the page.
const NEWEST: u32 = 12;

pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    visitor: Visitor,
    _: NoQuery,
) -> Result<Response, ApiError> {
    let newest = JobFilter { order: ListOrder::Newest, limit: NEWEST, ..JobFilter::default() };
    let oldest = JobFilter { statuses: vec![JobStatus::Pending], limit: 1, ..JobFilter::default() };
    let newest = service.glance(&newest).await?.jobs;
    let oldest = service.glance(&oldest).await?.jobs;
    let (queues, workers) = (service.queues().await?, service.workers().await?);
    let (minutes, since) = service.last_hour();
    let body = html! {
        h1 { "Overview" }
        (figures(&queues, &workers, oldest.first()))
        (warnings(&queues, &workers))
        (plots::section(&minutes, since))
        section #newest data-live {
            h2 { "Newest jobs" }
            @if newest.is_empty() {
                div.empty {
                    p { "No jobs yet." }
                    p { a.button href=(paths::NEW_PAGE) { "Submit the first job" } }
                }
            } @else {
                (table::of_jobs(&newest))
                p { a href=(paths::JOBS_PAGE) { "All jobs" } }
            }
        }
    };
    Ok(Page::new(visitor, paths::HOME, "Overview").show(&body))
}

fn figures(queues: &[Queue], workers: &[Worker], oldest: Option<&Job>) -> Markup {
    let pending: u64 = queues.iter().map(|queue| queue.pending).sum();
    let running: u64 = queues.iter().map(|queue| queue.running).sum();
    let online: Vec<_> = workers.iter().filter(|worker| worker.online).collect();
    let slots: u32 = online.iter().map(|worker| worker.registration.slots).sum();
    html! {
        section #figures.figures data-live aria-label="Figures" {
            (figure(&table::jobs_with("status", "Pending"), "Waiting", pending, &html! {
                @if let Some(job) = oldest { "the oldest for " span.age { (age(job.created_at)) } }
                @else { "none waiting" }
            }))
            (figure(&table::jobs_with("status", "Assigned,Running"), "Running", running, &html! {
                "of " (slots) @if slots == 1 { " slot" } @else { " slots" }
            }))
            (figure(paths::WORKERS_PAGE, "Workers online", online.len() as u64, &html! {
                "of " (workers.len()) " known"
            }))
            (figure(paths::QUEUES_PAGE, "Queues", queues.len() as u64, &html! {
                @match queues.iter().filter(|queue| queue.paused).count() {
                    0 => "none paused", paused => { (paused) " paused" }
                }
            }))
        }
    }
}

fn figure(leads_to: &str, name: &str, number: u64, more: &Markup) -> Markup {
    html! {
        a.figure href=(leads_to) {
            span.name { (name) }
            span.number { (number) }
            span.more { (more) }
        }
    }
}

/// Warnings about what keeps jobs from running.
fn warnings(queues: &[Queue], workers: &[Worker]) -> Markup {
    let unwell = workers.iter().filter(|worker| worker.unwell.is_some()).count();
    let waits = queues.iter().any(|queue| queue.pending > 0);
    html! {
        div #warnings data-live {
            @if waits && !workers.iter().any(|worker| worker.online) {
                p.notice { "Jobs are waiting, but no worker is online. Start one with " code { "orchestra worker" } "." }
            }
            @if unwell > 0 {
                p.notice { (unwell) (if unwell == 1 { " worker" } else { " workers" })
                    " cannot start jobs at the moment: " a href=(paths::WORKERS_PAGE) { "see why" } "." }
            }
        }
    }
}
