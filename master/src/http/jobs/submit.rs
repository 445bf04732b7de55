//! `POST /api/job`

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{AppendHeaders, IntoResponse},
};
use orchestra_contracts::{IdempotencyKey, JobSpec, paths};

use crate::{
    http::{
        error::ApiError,
        extract::{Json, Key, NoQuery},
    },
    service::{Caller, Service, Submission},
};

const REPLAYED: HeaderName = HeaderName::from_static(IdempotencyKey::REPLAYED);

/// 201 also for what was submitted with the same key before.
pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    caller: Caller,
    _: NoQuery,
    Key(key): Key,
    Json(spec): Json<JobSpec>,
) -> Result<impl IntoResponse, ApiError> {
    let Submission { job, replayed } = service.submit(spec, &caller, key).await?;
    let replayed = replayed.then_some((REPLAYED, HeaderValue::from_static("true")));
    let location = [(header::LOCATION, paths::job(job.id))];
    Ok((StatusCode::CREATED, location, AppendHeaders(replayed), Json(job)))
}
