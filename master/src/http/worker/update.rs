//! `POST /api/job/update`

use std::sync::Arc;

use axum::extract::State;
use orchestra_contracts::{Job, worker::JobUpdate};

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
    Json(update): Json<JobUpdate>,
) -> Result<Json<Job>, ApiError> {
    Ok(Json(service.update(update).await?))
}
