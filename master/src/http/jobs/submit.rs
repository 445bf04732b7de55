//! `POST /api/job`

use std::sync::Arc;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use orchestra_contracts::{JobSpec, paths};

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
    Json(spec): Json<JobSpec>,
) -> Result<impl IntoResponse, ApiError> {
    let job = service.submit(spec).await?;
    Ok((StatusCode::CREATED, [(header::LOCATION, paths::job(job.id))], Json(job)))
}
