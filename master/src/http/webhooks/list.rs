//! `GET /api/webhook`

use std::sync::Arc;

use axum::extract::State;
use orchestra_contracts::Webhook;

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
) -> Result<Json<Vec<Webhook>>, ApiError> {
    Ok(Json(service.webhooks().await?))
}
