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

/// It is handed nothing new and finishes what it has.
pub(super) async fn begin(
    State(service): State<Arc<Service>>,
    WorkerPath(worker): WorkerPath,
    _: NoQuery,
) -> Result<Json<Worker>, ApiError> {
    Ok(Json(service.drain(&worker, true).await?))
}

/// It is handed jobs again.
pub(super) async fn lift(
    State(service): State<Arc<Service>>,
    WorkerPath(worker): WorkerPath,
    _: NoQuery,
) -> Result<Json<Worker>, ApiError> {
    Ok(Json(service.drain(&worker, false).await?))
}
