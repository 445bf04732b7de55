//! `POST /api/job/{id}/retry`

use std::sync::Arc;

use axum::extract::State;
use orchestra_contracts::Job;

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
) -> Result<Json<Job>, ApiError> {
    Ok(Json(service.retry(id).await?))
}
