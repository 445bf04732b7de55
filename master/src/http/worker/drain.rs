//! `POST` and `DELETE /api/worker/{name}/drain`

use std::sync::Arc;

use axum::extract::State;
use orchestra_contracts::worker::Worker;

use crate::{
    http::{
        error::ApiError,
        extract::{Json, NoQuery, WorkerPath},
    },
    service::Service,
};

/// Drains a worker: it gets no new jobs and finishes those that it holds.
pub(super) async fn begin(
    State(service): State<Arc<Service>>,
    WorkerPath(worker): WorkerPath,
    _: NoQuery,
) -> Result<Json<Worker>, ApiError> {
    Ok(Json(service.drain(&worker, true).await?))
}

/// Ends the drain: the worker gets jobs again.
pub(super) async fn lift(
    State(service): State<Arc<Service>>,
    WorkerPath(worker): WorkerPath,
    _: NoQuery,
) -> Result<Json<Worker>, ApiError> {
    Ok(Json(service.drain(&worker, false).await?))
}
