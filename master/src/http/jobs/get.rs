//! `GET /api/job/{id}?wait=30s`

use std::sync::Arc;

use axum::extract::State;
use orchestra_contracts::{Job, Span};

use crate::{
    http::{
        error::ApiError,
        extract::{FromQuery, JobPath, Json, Pairs, Query},
    },
    service::{MAX_WAIT, Service},
};

pub(super) struct Wait(Option<Span>);

impl FromQuery for Wait {
    const NAMES: &'static [&'static str] = &["wait"];

    fn from_pairs(pairs: &Pairs) -> Result<Self, ApiError> {
        pairs.parsed("wait", "a duration like 30s or 2m").map(Self)
    }
}

/// With `wait`, a long poll: answers when the job has ended or the wait is over, after [`MAX_WAIT`]
/// at the latest.
pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    JobPath(id): JobPath,
    Query(Wait(wait)): Query<Wait>,
) -> Result<Json<Job>, ApiError> {
    let job = match wait {
        Some(wait) => service.job_ended(id, wait.min(MAX_WAIT).0).await?,
        None => service.job(id).await?,
    };
    Ok(Json(job))
}
