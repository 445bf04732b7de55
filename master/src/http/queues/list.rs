//! `GET /api/queue`

use std::sync::Arc;

use axum::extract::State;
use orchestra_contracts::Queue;

use crate::{
    http::{
        error::ApiError,
        extract::{Json, NoQuery},
    },
    service::Service,
};

pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    _: NoQuery,
) -> Result<Json<Vec<Queue>>, ApiError> {
    Ok(Json(service.queues().await?))
}
