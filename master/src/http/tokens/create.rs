//! `POST /api/token`

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::IntoResponse,
};
use orchestra_contracts::NewToken;

use crate::{
    http::{
        error::ApiError,
        extract::{Json, NoQuery},
    },
    service::Service,
};

/// The response is not cacheable: it is the only one that shows the token.
pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    _: NoQuery,
    Json(wanted): Json<NewToken>,
) -> Result<impl IntoResponse, ApiError> {
    let issued = service.issue_token(wanted).await?;
    let no_store = HeaderValue::from_static("no-store");
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, no_store)], Json(issued)))
}
