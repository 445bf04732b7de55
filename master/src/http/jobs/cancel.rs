//! `POST /api/job/{id}/cancel`

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::IntoResponse};

use crate::{
    http::{
        error::ApiError,
        extract::{JobPath, Json, NoQuery},
    },
    service::Service,
};

/// 200 if the job has ended, 202 if its worker has to end it first.
pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    JobPath(id): JobPath,
    _: NoQuery,
) -> Result<impl IntoResponse, ApiError> {
    let job = service.cancel(id).await?;
    let status = if job.status.is_final() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(job)))
}
