//! `DELETE /api/webhook/{id}`

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};

use crate::{
    http::{
        error::ApiError,
        extract::{NoQuery, WebhookPath},
    },
    service::Service,
};

pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    WebhookPath(id): WebhookPath,
    _: NoQuery,
) -> Result<StatusCode, ApiError> {
    service.remove_webhook(id).await?;
    Ok(StatusCode::NO_CONTENT)
}
