//! `POST /api/job`

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{AppendHeaders, IntoResponse, Response},
};
use orchestra_contracts::{IdempotencyKey, paths};

use crate::{
    http::{
        error::ApiError,
        extract::{Json, Key, NoQuery, Submitted},
    },
    service::{Caller, Service, Submission},
};

const REPLAYED: HeaderName = HeaderName::from_static(IdempotencyKey::REPLAYED);

/// 201 also for what was submitted with the same key before. One job is answered with a job,
/// a list and an array with a list.
pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    caller: Caller,
    _: NoQuery,
    Key(key): Key,
    Submitted(specs): Submitted,
) -> Result<Response, ApiError> {
    let is_single = specs.is_single();
    let Submission { jobs, replayed } = service.submit(specs, &caller, key).await?;
    let replayed = replayed.then_some((REPLAYED, HeaderValue::from_static("true")));
    let headers = AppendHeaders(replayed);
    match <[_; 1]>::try_from(jobs) {
        Ok([job]) if is_single => {
            let location = [(header::LOCATION, paths::job(job.id))];
            Ok((StatusCode::CREATED, location, headers, Json(job)).into_response())
        }
        Ok([job]) => Ok((StatusCode::CREATED, headers, Json([job])).into_response()),
        Err(jobs) => Ok((StatusCode::CREATED, headers, Json(jobs)).into_response()),
    }
}
