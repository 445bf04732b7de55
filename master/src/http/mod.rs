//! The REST API, one file for each endpoint or small group. Handlers parse the request, call one
//! use case of the service, and write the response. Only this module knows status codes. `web`
//! renders the same use cases as pages.

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

/// The router of the API and the pages.
pub fn router(service: Arc<Service>, access: Access) -> Router {
    let metrics = service.metrics().clone();
    layers::around(all().guarded(&service, &access), access, metrics).with_state(service)
}

/// Every API route with its rule, for the test that calls each route with each role.
pub fn routes() -> Vec<(Method, &'static str, Rule)> {
    all().listed(false)
}

/// Every page route with its rule, for the same test.
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
