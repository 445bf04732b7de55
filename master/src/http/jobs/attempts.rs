//! `GET /api/job/{id}/attempts`

use std::sync::Arc;

use axum::extract::State;
use orchestra_contracts::Attempt;

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
) -> Result<Json<Vec<Attempt>>, ApiError> {
    Ok(Json(service.attempts(id).await?))
}
