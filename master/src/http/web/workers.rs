//! `GET /workers`: the workers, what they offer, and what they run.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use maud::{Markup, html};
use orchestra_contracts::{
    Network, paths,
    worker::{Calls, Check, Offer, PoolStats, Stats, Worker},
};

use super::{
    layout::Page,
    table::jobs_with,
    text::{Line, age, bytes, millis},
    visitor::Visitor,
};
use crate::{
    http::{error::ApiError, extract::NoQuery},
    service::Service,
};

/// At most this many of a worker's jobs are linked. The rest is counted.
const SHOWN_JOBS: usize = 8;

pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    visitor: Visitor,
    _: NoQuery,
) -> Result<Response, ApiError> {
    let mut workers = service.workers().await?;
    workers.sort_by_key(|worker| !worker.online);
    let body = html! {
        h1 { "Workers" }
        section #workers data-live {
            @if workers.is_empty() {
                div.empty {
                    p { "No worker has registered yet." }
                    p.muted { "Start one with " code { "orchestra worker" } ", on this machine or another." }
                }
            }
            div.cards { @for worker in &workers { (card(worker, visitor)) } }
        }
        @if !visitor.is_admin() { p.muted { "To drain workers, sign in with an admin token." } }
    };
    Ok(Page::new(visitor, paths::WORKERS_PAGE, "Workers").show(&body))
}

fn card(worker: &Worker, visitor: Visitor) -> Markup {
    let registration = &worker.registration;
    let name = worker.name.as_str();
    html! {
        article.card {
            div.head {
                h2 { a href=(jobs_with("worker", name)) { (Line(name)) } }
                (standing(worker))
            }
            @if let Some(reason) = &worker.unwell { p.notice { "Cannot start jobs: " (Line(reason)) } }
            dl.facts {
                dt { "Slots" }
                dd {
                    (worker.running.len()) " of " (registration.slots) " in use "
                    meter min="0" max=(registration.slots) value=(worker.running.len()) {}
                }
                @if !worker.running.is_empty() { dt { "Jobs" } dd { (running(worker)) } }
                dt { "Queues" } dd { (Line(&registration.queues.join(", "))) }
                @if let Some(offer) = &registration.offer { (offered(offer)) }
                @if !registration.labels.is_empty() {
                    dt { "Labels" }
                    dd { @for (key, value) in &registration.labels {
                        span.label { (Line(&format!("{key}={value}"))) } " " } }
                }
                @if !registration.host.is_empty() { dt { "Host" } dd { (Line(&registration.host)) } }
                @if !registration.engine.is_empty() { dt { "Engine" } dd { (Line(&registration.engine)) } }
                @if let Some(stats) = &worker.stats { (measured(stats)) }
                dt { "Version" } dd { (Line(&registration.version)) }
                dt { "Last contact" } dd { (age(worker.seen_at)) }
            }
            @if let Some(stats) = &worker.stats { (doctor(&stats.checks)) }
            @if visitor.is_admin() { (changes(worker)) }
        }
    }
}

/// Statistics of its warm sandboxes and engine calls since it started.
fn measured(stats: &Stats) -> Markup {
    let sum = |of: fn(&Calls) -> u64| stats.engine.values().map(of).fold(0, u64::saturating_add);
    let (calls, failed) = (sum(|it| it.count), sum(|it| it.failed));
    html! {
        @if let Some(PoolStats { ready, hits, misses }) = stats.pool {
            dt { "Warm sandboxes" }
            dd { (ready) " ready; " (hits) " of " (hits.saturating_add(misses)) " jobs got one" }
        }
        @if let Some(mean) = sum(|it| it.total_ms).checked_div(calls) {
            dt { "Engine calls" }
            dd { (calls) ", " (millis(mean)) " on average; " (failed) " failed" }
        }
    }
}

/// The results of `orchestra doctor` on the worker: failed checks in full, the others folded up.
fn doctor(checks: &[Check]) -> Markup {
    let amiss = checks.iter().filter(|check| !check.ok);
    html! {
        @for check in amiss.clone() {
            p.notice {
                strong { (Line(&check.name)) } ": " (Line(&check.detail))
                @if let Some(fix) = &check.fix { ". To fix it: " code { (Line(fix)) } }
            }
        }
        @if !checks.is_empty() {
            details {
                summary {
                    (checks.len()) " checks: "
                    @match amiss.count() { 0 => "all passed", bad => { (bad) " failed" } }
                }
                dl.facts { @for check in checks {
                    dt { (Line(&check.name)) }
                    dd { (if check.ok { "passed: " } else { "failed: " }) (Line(&check.detail)) }
                } }
            }
        }
    }
}

fn standing(worker: &Worker) -> Markup {
    let (class, word) = match worker {
        Worker { online: false, .. } => ("status away", "Away"),
        Worker { draining_since: Some(_), .. } => ("status paused", "Draining"),
        Worker { unwell: Some(_), .. } => ("status failed", "Unwell"),
        _ => ("status open", "Online"),
    };
    html! { span class=(class) { (word) } }
}

fn running(worker: &Worker) -> Markup {
    html! {
        @for id in worker.running.iter().take(SHOWN_JOBS) { a href=(paths::job_page(*id)) { (id) } " " }
        @if worker.running.len() > SHOWN_JOBS { "and " (worker.running.len() - SHOWN_JOBS) " more" }
    }
}

/// The limits that it offers to jobs, and its images.
fn offered(offer: &Offer) -> Markup {
    let images: Vec<_> = offer.images.iter().map(String::as_str).collect();
    let references: Vec<_> = offer.references.iter().map(ToString::to_string).collect();
    html! {
        dt { "Limits per job" }
        dd {
            (offer.cpus) " cores, " (bytes(offer.memory)) ", " (offer.pids) " processes, "
            (bytes(offer.tmp)) " of /tmp, "
            @match offer.network { Network::None => "no network", Network::Bridge => "a network" }
        }
        dt { "Images" }
        dd { @if images.is_empty() { "none" } @else { (Line(&images.join(", "))) } }
        @if !references.is_empty() { dt { "Registry images" } dd { (Line(&references.join(", "))) } }
        @if let Some(runtime) = &offer.runtime { dt { "Runtime" } dd { (Line(runtime)) } }
    }
}

fn changes(worker: &Worker) -> Markup {
    let path = paths::drain(&worker.name);
    html! {
        p.actions {
            @if let Some(since) = worker.draining_since {
                span.muted { "drained " (age(since)) }
                button data-delete=(path) { "Stop draining" }
            } @else if worker.online {
                button data-post=(path) title="The worker gets no new jobs and finishes its current ones" { "Drain" }
            }
        }
    }
}
