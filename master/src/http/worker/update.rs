//! `POST /api/job/update`

use std::sync::Arc;

use axum::extract::State;
use orchestra_contracts::{Job, worker::JobUpdate};

use crate::{
    http::{
        error::ApiError,
        extract::{Json, NoQuery, Report},
    },
    service::{Caller, Service},
};

pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    caller: Caller,
    _: NoQuery,
    Report(update): Report<JobUpdate>,
) -> Result<Json<Job>, ApiError> {
    service.may_act_as(&caller, &update.assigned_worker)?;
    Ok(Json(service.update(update).await?))
}
