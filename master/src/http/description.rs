//! `GET /openapi.json`: what this API is, for programs. It stands in the program and in its
//! sources, so nobody is kept from it.

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use orchestra_contracts::{OPENAPI, paths};

use super::{
    access::{Routes, Rule},
    extract::NoQuery,
};

pub(super) fn routes() -> Routes {
    Routes::default().get(paths::DESCRIPTION, Rule::Anyone, handler)
}

async fn handler(_: NoQuery) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}
