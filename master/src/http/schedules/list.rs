//! `GET /api/schedule`

use std::sync::Arc;

use axum::extract::State;
use orchestra_contracts::Schedule;

use crate::{
    http::{
        error::ApiError,
        extract::{Json, NoQuery},
    },
    service::Service,
};

pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    _: NoQuery,
) -> Result<Json<Vec<Schedule>>, ApiError> {
    Ok(Json(service.schedules().await?))
}
