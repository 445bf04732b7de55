//! Liveness and readiness.

use std::sync::Arc;

use axum::extract::State;
use orchestra_contracts::paths;
use serde::Serialize;

use super::{
    access::{Routes, Rule},
    error::ApiError,
    extract::{Json, NoQuery},
};
use crate::service::{Service, StaleCounts};

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

#[derive(Serialize)]
struct Ready {
    status: &'static str,
    /// Calls of workers whose lease was lost.
    stale: StaleCounts,
}

pub(super) fn routes() -> Routes {
    Routes::default().get(paths::HEALTHZ, Rule::Anyone, alive).get(
        paths::READYZ,
        Rule::Anyone,
        ready,
    )
}

/// The process is alive. For supervisors that restart it.
async fn alive(_: NoQuery) -> Json<Health> {
    Json(Health { status: "alive" })
}

/// The database is usable. For load balancers that route requests to it.
async fn ready(State(service): State<Arc<Service>>, _: NoQuery) -> Result<Json<Ready>, ApiError> {
    service.check().await?;
    Ok(Json(Ready { status: "ready", stale: service.stale() }))
}
