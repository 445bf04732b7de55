//! The calls that workers make. `contracts::worker` lists them.

use std::sync::Arc;

use axum::{
    Router,
    routing::{get, post, put},
};
use orchestra_contracts::paths;

use crate::service::Service;

mod claim;
mod heartbeat;
mod list;
mod log;
mod orders;
mod register;
mod update;

pub(super) fn router() -> Router<Arc<Service>> {
    Router::new()
        .route(paths::CLAIM, post(claim::handler))
        .route(paths::UPDATE, post(update::handler))
        .route(paths::WORKERS, get(list::handler))
        .route(paths::WORKER, put(register::handler))
        .route(paths::HEARTBEAT, post(heartbeat::handler))
        .route(paths::ORDERS, get(orders::handler))
        .route(paths::ATTEMPT_LOG, get(log::head).post(log::append))
}
