//! What people do with jobs.

use std::sync::Arc;

use axum::{
    Router,
    routing::{get, post},
};
use orchestra_contracts::paths;

use crate::service::Service;

mod attempts;
mod cancel;
mod delete;
mod get;
mod list;
mod log;
mod retry;
mod submit;

pub(super) fn router() -> Router<Arc<Service>> {
    Router::new()
        .route(paths::JOBS, post(submit::handler).get(list::handler))
        .route(paths::PENDING, get(list::pending))
        .route(paths::JOB, get(get::handler).delete(delete::handler))
        .route(paths::CANCEL, post(cancel::handler))
        .route(paths::RETRY, post(retry::handler))
        .route(paths::LOG, get(log::handler))
        .route(paths::ATTEMPTS, get(attempts::handler))
}
