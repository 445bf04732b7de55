//! The REST API: one file an endpoint or small group. Handlers parse, call one
//! use case and answer. Only this room knows status codes. `web` shows the same use
//! cases to people.

use std::sync::Arc;

use axum::{Router, http::Method};

use crate::service::Service;

mod access;
mod content;
mod description;
mod disposition;
mod error;
mod extract;
mod health;
mod jobs;
mod layers;
mod metrics;
mod queues;
mod range;
mod refusals;
mod schedules;
mod serve;
mod span;
mod tokens;
mod uploads;
mod web;
mod webhooks;
mod worker;

pub use access::{Access, Hosts, Rule};
pub use serve::{Tls, serve, serve_at_most, serve_over};

/// Everything that the API and the pages answer.
pub fn router(service: Arc<Service>, access: Access) -> Router {
    let metrics = service.metrics().clone();
    layers::around(all().guarded(&service, &access), access, metrics).with_state(service)
}

/// Every route of the API with its rule: for the test that asks each of them as each role.
pub fn routes() -> Vec<(Method, &'static str, Rule)> {
    all().listed(false)
}

/// The same of the pages for people.
pub fn pages() -> Vec<(Method, &'static str, Rule)> {
    all().listed(true)
}

fn all() -> access::Routes {
    jobs::routes()
        .merge(uploads::routes())
        .merge(queues::routes())
        .merge(schedules::routes())
        .merge(worker::routes())
        .merge(tokens::routes())
        .merge(webhooks::routes())
        .merge(health::routes())
        .merge(description::routes())
        .merge(metrics::routes())
        .merge(web::routes())
}
