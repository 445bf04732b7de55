//! `GET /metrics` for Prometheus, and the labels under which requests are counted.

use std::sync::Arc;

use axum::{
    extract::{MatchedPath, State},
    http::{Method, header},
    response::{IntoResponse, Response},
};
use orchestra_contracts::paths;

use super::{
    access::{Routes, Rule},
    extract::NoQuery,
};
use crate::service::Service;

/// <https://prometheus.io/docs/instrumenting/exposition_formats>
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The route label of all requests that match no route.
const NO_ROUTE: &str = "(none)";

pub(super) fn routes() -> Routes {
    Routes::default().get(paths::METRICS, Rule::Client, handler)
}

async fn handler(State(service): State<Arc<Service>>, _: NoQuery) -> Response {
    ([(header::CONTENT_TYPE, TEXT)], service.measure().await).into_response()
}

/// The route label: the route's pattern, since the number of different paths is unbounded.
pub(super) fn route(route: Option<&MatchedPath>) -> &str {
    route.map_or(NO_ROUTE, MatchedPath::as_str)
}

/// The method label. Unknown methods share one, since clients can make them up.
pub(super) fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("(other)")
}
