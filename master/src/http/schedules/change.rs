//! `PATCH /api/schedule/{name}`

use std::sync::Arc;

use axum::extract::State;
use orchestra_contracts::{Schedule, ScheduleChange};

use crate::{
    http::{
        error::ApiError,
        extract::{Json, NoQuery, SchedulePath},
    },
    service::Service,
};

/// Pauses or resumes a schedule. Idempotent.
pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    SchedulePath(name): SchedulePath,
    _: NoQuery,
    Json(change): Json<ScheduleChange>,
) -> Result<Json<Schedule>, ApiError> {
    Ok(Json(service.change_schedule(name, change).await?))
}
