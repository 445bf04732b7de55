//! `GET /webhooks/{id}`: the deliveries of one webhook and their results, with a button to repeat
//! them.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use maud::{Markup, html};
use orchestra_contracts::{Delivery, DeliveryState, WebhookId, paths};

use super::{facts, remove};
use crate::{
    http::{
        error::ApiError,
        extract::{NoQuery, WebhookPath},
        web::{
            layout::Page,
            text::{Line, age, moment},
            visitor::Visitor,
        },
    },
    service::Service,
};

pub(in crate::http::web) async fn handler(
    State(service): State<Arc<Service>>,
    visitor: Visitor,
    WebhookPath(id): WebhookPath,
    _: NoQuery,
) -> Result<Response, ApiError> {
    let webhook = service.webhook(id).await?;
    let log = service.deliveries(id).await?;
    let body = html! {
        p.crumbs { a href=(paths::WEBHOOKS_PAGE) { "Webhooks" } " / " (id) }
        div.head { h1 { (Line(&webhook.url)) } (remove(&webhook, Some(paths::WEBHOOKS_PAGE))) }
        section { (facts(&webhook)) }
        section #deliveries data-live {
            h2 { "Deliveries" }
            @if log.is_empty() { div.empty { p { "No deliveries yet: no matching job has ended." } } }
            @else { (table(id, &log)) }
        }
    };
    Ok(Page::new(visitor, paths::WEBHOOKS_PAGE, "Webhook").show(&body))
}

fn table(webhook: WebhookId, log: &[Delivery]) -> Markup {
    html! {
        table.rows {
            thead { tr {
                th scope="col" { "State" }
                th scope="col" { "Job" }
                th scope="col" { "Tries" }
                th scope="col" { "Last response" }
                th scope="col" { "Tried" }
                th scope="col" { "Next try" }
                th scope="col" { "Actions" }
            } }
            tbody { @for delivery in log { (row(webhook, delivery)) } }
        }
    }
}

fn row(webhook: WebhookId, delivery: &Delivery) -> Markup {
    let (class, word) = match delivery.state {
        DeliveryState::Pending => ("status pending", "Pending"),
        DeliveryState::Delivered => ("status completed", "Delivered"),
        DeliveryState::GivenUp => ("status failed", "Given up"),
    };
    html! {
        tr {
            td { span class=(class) { (word) } }
            td.linked { a href=(paths::job_page(delivery.job)) { (delivery.job) } " " span.muted { (delivery.on) } }
            td.number.what data-name="Tries" { (delivery.attempts) }
            td.main {
                @if let Some(status) = delivery.answer { (status) " " }
                @if let Some(error) = &delivery.error { span.muted { (Line(error)) } }
            }
            td.time.what data-name="Tried" { @if let Some(at) = delivery.tried_at { (age(at)) } }
            td.time.what data-name="Next try" { @if let Some(at) = delivery.next_try { (moment(at)) } }
            td.actions { button data-post=(paths::redeliver(webhook, delivery.id)) { "Send again" } }
        }
    }
}
