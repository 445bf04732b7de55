//! `GET /api/webhook/{id}`

use std::sync::Arc;

use axum::extract::State;
use orchestra_contracts::Webhook;

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
) -> Result<Json<Webhook>, ApiError> {
    Ok(Json(service.webhook(id).await?))
}
