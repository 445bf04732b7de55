//! `GET /queues`: the jobs that wait and run in each queue, and the rules that admins set.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use maud::{Markup, html};
use orchestra_contracts::{Queue, paths};

use super::{
    layout::Page,
    table::jobs_with,
    text::{Line, age},
    visitor::Visitor,
};
use crate::{
    http::{error::ApiError, extract::NoQuery},
    service::Service,
};

pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    visitor: Visitor,
    _: NoQuery,
) -> Result<Response, ApiError> {
    let queues = service.queues().await?;
    let body = html! {
        h1 { "Queues" }
        section #queues data-live {
            @if queues.is_empty() {
                div.empty { p { "No queues yet. A queue appears once a worker serves it or a job waits in it." } }
            } @else { (table(&queues, visitor)) }
        }
        @if !visitor.is_admin() { p.muted { "To pause or limit queues, sign in with an admin token." } }
    };
    Ok(Page::new(visitor, paths::QUEUES_PAGE, "Queues").show(&body))
}

fn table(queues: &[Queue], visitor: Visitor) -> Markup {
    html! {
        table.rows {
            thead { tr {
                th scope="col" { "Queue" }
                th scope="col" { "State" }
                th scope="col" { "Waiting" }
                th scope="col" { "Running" }
                th scope="col" { "Limit" }
                th scope="col" { "Workers" }
                @if visitor.is_admin() { th scope="col" { "Actions" } }
            } }
            tbody { @for queue in queues { (row(queue, visitor)) } }
        }
    }
}

fn row(queue: &Queue, visitor: Visitor) -> Markup {
    let name = queue.name.as_str();
    html! {
        tr {
            td.main { a href=(jobs_with("queue", name)) { (Line(name)) } }
            td {
                @match queue.paused_since {
                    Some(since) => { span.status.paused { "Paused" } " " span.muted { (age(since)) } }
                    None => span.status.open { "Open" },
                }
            }
            td.number.what data-name="Waiting" { (queue.pending) }
            td.number.what data-name="Running" { (queue.running) }
            td.number.what data-name="Limit" {
                @match queue.concurrency { Some(most) => (most), None => "no limit" }
            }
            td.number.what data-name="Workers" { (queue.workers) }
            @if visitor.is_admin() { td.actions { (changes(queue)) } }
        }
    }
}

fn changes(queue: &Queue) -> Markup {
    let path = paths::queue(&queue.name);
    let paused = format!("{{\"paused\": {}}}", !queue.paused);
    html! {
        button data-patch=(path) data-body=(paused) {
            (if queue.paused { "Resume" } else { "Pause" })
        }
        form.inline data-patch=(path) data-number="concurrency" {
            label.hidden for={ "most-" (queue.name) } { "Limit of jobs in progress in " (queue.name) }
            input id={ "most-" (queue.name) } type="number" min="1" max="1000000" placeholder="no limit"
                value=[queue.concurrency];
            button { "Limit" }
        }
    }
}
