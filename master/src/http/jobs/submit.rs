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
        extract::{FromQuery, Json, Key, Pairs, Query, Submitted, Trace},
    },
    service::{Caller, Service, Submission},
};

const REPLAYED: HeaderName = HeaderName::from_static(IdempotencyKey::REPLAYED);

/// Whether this is a dry run, which stores nothing.
pub(super) struct DryRun(bool);

impl FromQuery for DryRun {
    const NAMES: &'static [&'static str] = &["dryRun"];

    fn from_pairs(pairs: &Pairs) -> Result<Self, ApiError> {
        pairs.flag("dryRun").map(Self)
    }
}

/// 201, also for a submission that is repeated with the same key. The answer to one job is a job,
/// to a list or an array a list. A dry run gets 200 and the specs as they would be stored.
pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Query(DryRun(dry_run)): Query<DryRun>,
    Key(key): Key,
    Trace(trace): Trace,
    Submitted(specs): Submitted,
) -> Result<Response, ApiError> {
    if dry_run {
        return Ok(Json(service.try_submit(specs).await?).into_response());
    }
    let is_single = specs.is_single();
    let Submission { jobs, replayed } = service.submit(specs, &caller, key, trace).await?;
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
