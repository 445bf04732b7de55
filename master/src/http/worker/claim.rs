//! `POST /api/job/claim`

use std::sync::Arc;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use orchestra_contracts::worker::ClaimRequest;

use crate::{
    http::{
        error::ApiError,
        extract::{Json, NoQuery},
    },
    service::{Caller, Service},
};

/// A claim by name gets a job, the long form a list of jobs. 204 if there is none.
pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    caller: Caller,
    _: NoQuery,
    Json(request): Json<ClaimRequest>,
) -> Result<Response, ApiError> {
    let worker = match &request {
        ClaimRequest::Name(worker) => worker,
        ClaimRequest::Full(terms) => &terms.worker,
    };
    service.may_act_as(&caller, worker)?;
    let nothing = StatusCode::NO_CONTENT.into_response();
    Ok(match request {
        ClaimRequest::Name(worker) => {
            let job = service.claim_by_name(worker).await?;
            job.map_or(nothing, |job| Json(job).into_response())
        }
        ClaimRequest::Full(terms) => match service.claim(terms).await? {
            jobs if jobs.is_empty() => nothing,
            jobs => Json(jobs).into_response(),
        },
    })
}
