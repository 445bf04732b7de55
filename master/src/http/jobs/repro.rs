//! `GET /api/job/{id}/repro`

use std::sync::Arc;

use axum::extract::State;
use orchestra_contracts::Repro;

use crate::{
    http::{
        error::ApiError,
        extract::{JobPath, Json, NoQuery},
    },
    service::Service,
};

pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    JobPath(id): JobPath,
    _: NoQuery,
) -> Result<Json<Repro>, ApiError> {
    Ok(Json(service.repro(id).await?))
}
