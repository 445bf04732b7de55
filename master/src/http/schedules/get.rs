//! `GET /api/schedule/{name}`

use std::sync::Arc;

use axum::extract::State;
use orchestra_contracts::Schedule;

use crate::{
    http::{
        error::ApiError,
        extract::{Json, NoQuery, SchedulePath},
    },
    service::Service,
};

pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    SchedulePath(name): SchedulePath,
    _: NoQuery,
) -> Result<Json<Schedule>, ApiError> {
    Ok(Json(service.schedule(name).await?))
}
