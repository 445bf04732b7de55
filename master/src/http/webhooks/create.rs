//! `POST /api/webhook`

use std::sync::Arc;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use orchestra_contracts::{NewWebhook, paths};

use crate::{
    http::{
        error::ApiError,
        extract::{Json, NoQuery},
    },
    service::Service,
};

/// The response is not cacheable: it is the only one that shows the secret.
pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    _: NoQuery,
    Json(wanted): Json<NewWebhook>,
) -> Result<impl IntoResponse, ApiError> {
    let registered = service.add_webhook(wanted).await?;
    let location = paths::webhook(registered.webhook.id);
    let headers = [(header::LOCATION, location), (header::CACHE_CONTROL, "no-store".to_owned())];
    Ok((StatusCode::CREATED, headers, Json(registered)))
}
