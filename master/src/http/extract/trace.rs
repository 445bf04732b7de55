//! The header `traceparent`.

use std::convert::Infallible;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, request::Parts},
};
use orchestra_program::TraceParent;

/// The trace that a request belongs to. An invalid header is ignored, as W3C Trace Context asks.
pub(in crate::http) struct Trace(pub(in crate::http) Option<TraceParent>);

impl Trace {
    pub(in crate::http) fn of(headers: &HeaderMap) -> Self {
        Self(headers.get(TraceParent::HEADER).and_then(|value| value.to_str().ok()?.parse().ok()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Trace {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}
