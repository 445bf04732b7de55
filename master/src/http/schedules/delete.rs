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

/// Its jobs stay, and go on where they run.
pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    SchedulePath(name): SchedulePath,
    _: NoQuery,
) -> Result<StatusCode, ApiError> {
    service.remove_schedule(name).await?;
    Ok(StatusCode::NO_CONTENT)
}
