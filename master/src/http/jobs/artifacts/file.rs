//! `GET /api/job/{id}/artifacts/{path}`: one artifact, whole or in part.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap, response::Response};

use super::Of;
use crate::{
    http::{
        content::{Stored, answer},
        error::ApiError,
        extract::{ArtifactPath, Query},
    },
    service::Service,
};

pub(in crate::http::jobs) async fn handler(
    State(service): State<Arc<Service>>,
    ArtifactPath(id, path): ArtifactPath,
    Query(Of(attempt)): Query<Of>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (attempt, file) = service.artifact(id, attempt, &path).await?;
    let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
    let stored = Stored { name: &name, bytes: file.bytes, sha256: &file.sha256 };
    answer(&headers, &stored, |range| {
        Ok(service.artifact_reader(id, attempt)?.file(path).bytes(range))
    })
}
