//! `POST /api/schedule`

use std::sync::Arc;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use orchestra_contracts::{NewSchedule, paths};

use crate::{
    http::{
        error::ApiError,
        extract::{Json, NoQuery},
    },
    service::Service,
};

/// The name is the key: a repeated call gets a 409, so no schedule is created twice.
pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    _: NoQuery,
    Json(wanted): Json<NewSchedule>,
) -> Result<impl IntoResponse, ApiError> {
    let schedule = service.add_schedule(wanted).await?;
    let location = [(header::LOCATION, paths::schedule(&schedule.what.name))];
    Ok((StatusCode::CREATED, location, Json(schedule)))
}
