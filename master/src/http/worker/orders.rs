//! `GET /api/worker/{name}/orders?after=7&wait=20s`

use std::sync::Arc;

use axum::extract::State;
use orchestra_contracts::{Span, worker::Orders};

use crate::{
    http::{
        error::ApiError,
        extract::{FromQuery, Json, Pairs, Query, WorkerPath},
    },
    service::{Caller, Service},
};

pub(super) struct Listening {
    after: Option<u64>,
    wait: Option<Span>,
}

impl FromQuery for Listening {
    const NAMES: &'static [&'static str] = &["after", "wait"];

    fn from_pairs(pairs: &Pairs) -> Result<Self, ApiError> {
        Ok(Self {
            after: pairs.parsed("after", "a count of orders")?,
            wait: pairs.parsed("wait", "a duration like 30s or 2m")?,
        })
    }
}

/// Long-polls for orders. Without `after` and `wait` it answers at once.
pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    caller: Caller,
    WorkerPath(worker): WorkerPath,
    Query(Listening { after, wait }): Query<Listening>,
) -> Result<Json<Orders>, ApiError> {
    service.may_act_as(&caller, &worker)?;
    let count = service.orders(&worker, after, wait.unwrap_or_default()).await;
    Ok(Json(Orders { count }))
}
