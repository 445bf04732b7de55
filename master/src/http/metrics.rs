//! `GET /metrics`: what a master counts and how it stands, for Prometheus; and the counting of
//! what is asked of it.

use std::sync::Arc;

use axum::{
    extract::{MatchedPath, Request, State},
    http::{Method, header},
    middleware::Next,
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
pub(super) async fn counted(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = known(request.method());
    let response = next.run(request).await;
    let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    service.metrics().answered(method, route, response.status().as_u16());
    response
}

/// Anybody may make up others.
fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("(other)")
}
