//! `DELETE /api/schedule/{name}`

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};

use crate::{
    http::{
        error::ApiError,
        extract::{NoQuery, SchedulePath},
    },
    service::Service,
};

/// Deletes a schedule. Its jobs remain, and running ones continue.
pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    SchedulePath(name): SchedulePath,
    _: NoQuery,
) -> Result<StatusCode, ApiError> {
    service.remove_schedule(name).await?;
    Ok(StatusCode::NO_CONTENT)
}
