//! `GET /api/job/{id}/explain`

use std::sync::Arc;

use axum::extract::State;
use orchestra_contracts::explain::Explanation;

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
) -> Result<Json<Explanation>, ApiError> {
    Ok(Json(service.explain(id).await?))
}
