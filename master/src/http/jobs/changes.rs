//! `GET /api/job/{id}/changes`

use std::sync::Arc;

use axum::extract::State;
use orchestra_contracts::files::AttemptChanges;

use super::artifacts::Of;
use crate::{
    http::{
        error::ApiError,
        extract::{JobPath, Json, Query},
    },
    service::Service,
};

pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    JobPath(id): JobPath,
    Query(Of(attempt)): Query<Of>,
) -> Result<Json<AttemptChanges>, ApiError> {
    Ok(Json(service.changes(id, attempt).await?))
}
