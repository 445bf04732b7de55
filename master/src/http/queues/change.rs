//! `PATCH /api/queue/{name}`

use std::sync::Arc;

use axum::extract::State;
use orchestra_contracts::{Queue, QueueChange};

use crate::{
    http::{
        error::ApiError,
        extract::{Json, NoQuery, QueuePath},
    },
    service::Service,
};

/// Changes a queue. It need not have jobs: it may be paused before they are submitted.
pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    QueuePath(name): QueuePath,
    _: NoQuery,
    Json(change): Json<QueueChange>,
) -> Result<Json<Queue>, ApiError> {
    Ok(Json(service.change_queue(name, change).await?))
}
