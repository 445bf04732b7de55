//! `GET` and `POST /api/job/{id}/attempts/{n}/log`

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap};
use orchestra_contracts::{
    LeaseToken, WorkerName,
    worker::{LEASE_HEADER, LogHead},
};

use crate::{
    http::{
        error::ApiError,
        extract::{AttemptPath, Frames, FromQuery, Json, NoQuery, Pairs, Query},
    },
    service::{Caller, Service, Upload},
};

pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) worker: WorkerName,
}

impl FromQuery for Place {
    const NAMES: &'static [&'static str] = &["offset", "worker"];

    fn from_pairs(pairs: &Pairs) -> Result<Self, ApiError> {
        let missing =
            |name: &str| ApiError::parameter(format!("the parameter {name:?} is missing"));
        let offset = pairs.parsed("offset", "a number of bytes")?;
        let worker = pairs.parsed("worker", "a worker name")?;
        Ok(Self {
            offset: offset.ok_or_else(|| missing("offset"))?,
            worker: worker.ok_or_else(|| missing("worker"))?,
        })
    }
}

/// The stored length of the log, where the next upload begins.
pub(super) async fn head(
    State(service): State<Arc<Service>>,
    AttemptPath(job, attempt): AttemptPath,
    _: NoQuery,
) -> Result<Json<LogHead>, ApiError> {
    Ok(Json(service.log_head(job, attempt).await?))
}

/// Appends to the log. Without the lease header, the worker's name takes the place of the token.
pub(super) async fn append(
    State(service): State<Arc<Service>>,
    caller: Caller,
    AttemptPath(job, attempt): AttemptPath,
    Query(Place { offset, worker }): Query<Place>,
    headers: HeaderMap,
    Frames(frames): Frames,
) -> Result<Json<LogHead>, ApiError> {
    service.may_act_as(&caller, &worker)?;
    let token = lease_token(&headers)?;
    let upload = Upload { job, attempt, worker, token, offset, frames };
    Ok(Json(service.append_log(upload).await?))
}

pub(super) fn lease_token(headers: &HeaderMap) -> Result<Option<LeaseToken>, ApiError> {
    let token = headers.get(LEASE_HEADER).map(|value| {
        let text = value.to_str();
        text.map(LeaseToken::new)
            .map_err(|_| ApiError::parameter(format!("{LEASE_HEADER} is not text")))
    });
    token.transpose()
}
