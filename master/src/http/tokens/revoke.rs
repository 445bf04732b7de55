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

/// Answers with the token's row, which stays, so that a repeated call gets the same answer.
pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    TokenPath(id): TokenPath,
    _: NoQuery,
) -> Result<Json<TokenInfo>, ApiError> {
    Ok(Json(service.revoke_token(id).await?))
}
