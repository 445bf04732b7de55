//! `DELETE /api/job/{id}`

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};

use crate::{
    http::{
        error::ApiError,
        extract::{JobPath, NoQuery},
    },
    service::{Deletion, Service},
};

/// 204 if the job is gone, 202 if a worker holds it and has to end it first.
pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    JobPath(id): JobPath,
    _: NoQuery,
) -> Result<StatusCode, ApiError> {
    Ok(match service.delete(id).await? {
        Deletion::Done => StatusCode::NO_CONTENT,
        Deletion::Begun => StatusCode::ACCEPTED,
    })
}
