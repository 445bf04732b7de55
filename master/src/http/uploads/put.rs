//! `PUT /api/upload/{sha256}`: a whole file, or a piece of it starting at `?offset=`.

use std::sync::Arc;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::{
    http::{
        error::ApiError,
        extract::{FromQuery, Json, Pairs, Pieces, Query, UploadPath},
    },
    service::Service,
};

pub(super) struct Place {
    offset: u64,
}

impl FromQuery for Place {
    const NAMES: &'static [&'static str] = &["offset"];

    fn from_pairs(pairs: &Pairs) -> Result<Self, ApiError> {
        Ok(Self { offset: pairs.parsed("offset", "a number of bytes")?.unwrap_or_default() })
    }
}

/// 201 when the file is complete, 202 while more must follow.
pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    UploadPath(sha256): UploadPath,
    Query(Place { mut offset }): Query<Place>,
    mut pieces: Pieces,
) -> Result<Response, ApiError> {
    // The first piece may be empty: the file may be, or the client asks how much is stored.
    let mut piece = pieces.next().await?.unwrap_or_default();
    loop {
        let length = piece.len() as u64;
        let upload = service.append_upload(sha256.clone(), offset, piece).await?;
        if upload.complete {
            return Ok((StatusCode::CREATED, Json(upload)).into_response());
        }
        let Some(next) = pieces.next().await? else {
            return Ok((StatusCode::ACCEPTED, Json(upload)).into_response());
        };
        (offset, piece) = (offset.saturating_add(length), next);
    }
}
