//! `GET /metrics`: what a master counts and how it stands, for Prometheus; and under which names
//! it is counted what is asked of it.

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
/// Where there is nothing, whatever was asked for.
const NO_ROUTE: &str = "(none)";

pub(super) fn routes() -> Routes {
    Routes::default().get(paths::METRICS, Rule::Client, handler)
}

async fn handler(State(service): State<Arc<Service>>, _: NoQuery) -> Response {
    ([(header::CONTENT_TYPE, TEXT)], service.measure().await).into_response()
}

/// By its route, and not by its address, of which there are as many as people think of.
pub(super) fn route(route: Option<&MatchedPath>) -> &str {
    route.map_or(NO_ROUTE, MatchedPath::as_str)
}

/// Anybody may make up others.
pub(super) fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("(other)")
}
