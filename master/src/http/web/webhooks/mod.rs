//! `GET /webhooks`: the webhooks. `one` shows the deliveries of one of them.

mod one;

use std::sync::Arc;

use axum::{extract::State, response::Response};
use maud::{Markup, html};
use orchestra_contracts::{JobStatus, Webhook, paths};

use super::{
    layout::Page,
    text::{Line, age},
    visitor::Visitor,
};
use crate::{
    http::{error::ApiError, extract::NoQuery},
    service::Service,
};

pub(super) use one::handler as one;

pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    visitor: Visitor,
    _: NoQuery,
) -> Result<Response, ApiError> {
    let webhooks = service.webhooks().await?;
    let body = html! {
        h1 { "Webhooks" }
        section #webhooks data-live {
            @if webhooks.is_empty() {
                div.empty {
                    p { "No webhooks yet." }
                    p.muted { code { "orchestra webhooks add https://example.com/hook --on failed" }
                        " adds one." }
                }
            }
            div.cards { @for webhook in &webhooks { (card(webhook)) } }
        }
    };
    Ok(Page::new(visitor, paths::WEBHOOKS_PAGE, "Webhooks").show(&body))
}

fn card(webhook: &Webhook) -> Markup {
    html! {
        article.card {
            div.head { h2 { a href=(paths::webhook_page(webhook.id)) { (Line(&webhook.url)) } } }
            (facts(webhook))
            p.actions {
                a.button href=(paths::webhook_page(webhook.id)) { "Deliveries" }
                (remove(webhook, None))
            }
        }
    }
}

/// Its filter: which job ends it reports.
fn facts(webhook: &Webhook) -> Markup {
    let ends: Vec<_> = webhook.on.iter().copied().map(JobStatus::as_str).collect();
    html! {
        dl.facts {
            dt { "Statuses" } dd { (ends.join(", ")) }
            dt { "Queue" } dd { @match &webhook.queue {
                Some(queue) => (Line(queue.as_str())), None => "any",
            } }
            @if !webhook.labels.is_empty() {
                dt { "Labels" }
                dd { @for (key, value) in &webhook.labels {
                    span.label { (Line(&format!("{key}={value}"))) } " " } }
            }
            dt { "Created" } dd { (age(webhook.created_at)) }
        }
    }
}

fn remove(webhook: &Webhook, then: Option<&str>) -> Markup {
    html! {
        button.danger data-delete=(paths::webhook(webhook.id)) data-sure="Remove with its deliveries?"
            data-then=[then] { "Remove" }
    }
}
