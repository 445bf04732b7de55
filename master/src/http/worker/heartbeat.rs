//! `POST /api/worker/{name}/heartbeat`

use std::sync::Arc;

use axum::extract::State;
use orchestra_contracts::worker::{Heartbeat, HeartbeatReply};

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
    Json(heartbeat): Json<Heartbeat>,
) -> Result<Json<HeartbeatReply>, ApiError> {
    service.may_act_as(&caller, &worker)?;
    Ok(Json(service.heartbeat(worker, heartbeat).await?))
}
