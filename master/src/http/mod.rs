//! The REST API: one file an endpoint or small group. Handlers parse, call one
//! use case and answer. Only this room knows status codes.

use std::sync::Arc;

use axum::Router;

use crate::service::Service;

mod error;
mod extract;
mod health;
mod jobs;
mod layers;
mod serve;
mod worker;

pub use serve::serve;

/// Everything that the API answers.
pub fn router(service: Arc<Service>) -> Router {
    let routes =
        Router::new().merge(jobs::router()).merge(worker::router()).merge(health::router());
    layers::around(routes).with_state(service)
}
