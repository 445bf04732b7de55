//! `GET /api/worker`

use std::sync::Arc;

use axum::extract::State;
use orchestra_contracts::worker::Worker;

use crate::{
    http::{
        error::ApiError,
        extract::{Json, NoQuery},
    },
    service::Service,
};

pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    _: NoQuery,
) -> Result<Json<Vec<Worker>>, ApiError> {
    Ok(Json(service.workers().await?))
}
