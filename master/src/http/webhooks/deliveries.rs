//! `GET /api/webhook/{id}/deliveries`

use std::sync::Arc;

use axum::extract::State;
use orchestra_contracts::Delivery;

use crate::{
    http::{
        error::ApiError,
        extract::{Json, NoQuery, WebhookPath},
    },
    service::Service,
};

pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    WebhookPath(id): WebhookPath,
    _: NoQuery,
) -> Result<Json<Vec<Delivery>>, ApiError> {
    Ok(Json(service.deliveries(id).await?))
}
