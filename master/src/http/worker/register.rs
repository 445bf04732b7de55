//! `PUT /api/worker/{name}`

use std::sync::Arc;

use axum::extract::State;
use orchestra_contracts::worker::{Registration, Welcome};

use crate::{
    http::{
        error::ApiError,
        extract::{Json, NoQuery, WorkerPath},
    },
    service::{Caller, Service},
};

pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    caller: Caller,
    WorkerPath(worker): WorkerPath,
    _: NoQuery,
    Json(registration): Json<Registration>,
) -> Result<Json<Welcome>, ApiError> {
    service.may_act_as(&caller, &worker)?;
    Ok(Json(service.register(worker, registration).await?))
}
