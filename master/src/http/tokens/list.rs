//! `GET /api/token`

use std::sync::Arc;

use axum::extract::State;
use orchestra_contracts::TokenInfo;

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
) -> Result<Json<Vec<TokenInfo>>, ApiError> {
    Ok(Json(service.tokens().await?))
}
