//! `DELETE /api/token/{id}`

use std::sync::Arc;

use axum::extract::State;
use orchestra_contracts::TokenInfo;

use crate::{
    http::{
        error::ApiError,
        extract::{Json, NoQuery, TokenPath},
    },
    service::Service,
};

/// The row stays and is the answer, so that the same call again gets the same answer.
pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    TokenPath(id): TokenPath,
    _: NoQuery,
) -> Result<Json<TokenInfo>, ApiError> {
    Ok(Json(service.revoke_token(id).await?))
}
