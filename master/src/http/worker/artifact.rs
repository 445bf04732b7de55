//! `POST /api/job/{id}/attempts/{n}/artifacts`

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap};
use orchestra_contracts::worker::ArtifactHead;

use super::log::{Place, lease_token};
use crate::{
    http::{
        error::ApiError,
        extract::{AttemptPath, FromQuery, Json, Pairs, Piece, Query},
    },
    service::{Caller, PieceUpload, Service},
};

pub(super) struct FilePlace {
    path: String,
    place: Place,
}

impl FromQuery for FilePlace {
    const NAMES: &'static [&'static str] = &["path", "offset", "worker"];

    fn from_pairs(pairs: &Pairs) -> Result<Self, ApiError> {
        let path = pairs.one("path")?;
        let path = path.ok_or_else(|| ApiError::parameter("the parameter \"path\" is missing"))?;
        Ok(Self { path: path.to_owned(), place: Place::from_pairs(pairs)? })
    }
}

/// Appends to an artifact. Without the lease header, the worker's name takes the place of the
/// token.
pub(super) async fn append(
    State(service): State<Arc<Service>>,
    caller: Caller,
    AttemptPath(job, attempt): AttemptPath,
    Query(FilePlace { path, place: Place { offset, worker } }): Query<FilePlace>,
    headers: HeaderMap,
    Piece(content): Piece,
) -> Result<Json<ArtifactHead>, ApiError> {
    service.may_act_as(&caller, &worker)?;
    let token = lease_token(&headers)?;
    let piece = PieceUpload { job, attempt, worker, token, path, offset, content };
    Ok(Json(service.append_artifact(piece).await?))
}
