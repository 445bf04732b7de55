//! `GET /api/upload/{sha256}`: a complete upload, or a part of it.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap, response::Response};

use crate::{
    http::{
        content::{Stored, answer},
        error::ApiError,
        extract::{NoQuery, UploadPath},
    },
    service::Service,
};

pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    UploadPath(sha256): UploadPath,
    _: NoQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let bytes = service.upload(&sha256).await?;
    let (name, hash) = (sha256.as_str(), sha256.as_str());
    let stored = Stored { name, bytes, sha256: hash };
    let reader = service.upload_reader(sha256.clone());
    answer(&headers, &stored, |range| Ok(reader?.bytes(range)))
}
