//! The header `idempotency-key`.

use axum::{extract::FromRequestParts, http::request::Parts};
use orchestra_contracts::IdempotencyKey;

use crate::http::error::ApiError;

/// The idempotency key, if the client sent one.
pub(in crate::http) struct Key(pub(in crate::http) Option<IdempotencyKey>);

impl<S: Send + Sync> FromRequestParts<S> for Key {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut sent = parts.headers.get_all(IdempotencyKey::HEADER).iter();
        let Some(value) = sent.next() else { return Ok(Self(None)) };
        if sent.next().is_some() {
            return Err(ApiError::parameter("there is more than one idempotency key"));
        }
        let key = value.to_str().unwrap_or_default().parse().map_err(ApiError::parameter)?;
        Ok(Self(Some(key)))
    }
}
