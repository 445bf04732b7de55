//! `GET /openapi.json`: the description of the API for programs. It needs no token, since it is
//! part of the public source code.

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
