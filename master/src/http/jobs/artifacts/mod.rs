//! `GET /api/job/{id}/artifacts`: the artifacts of an attempt, as a list or as a tar archive.
//! `file` serves a single one.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use orchestra_contracts::AttemptNo;

use crate::{
    http::{
        error::ApiError,
        extract::{FromQuery, JobPath, Json, Pairs, Query},
    },
    service::Service,
};

pub(super) mod file;

use crate::http::disposition::attachment;

/// The attempt. By default the last one that has ended.
pub(super) struct Of(pub(super) Option<AttemptNo>);

impl FromQuery for Of {
    const NAMES: &'static [&'static str] = &["attempt"];

    fn from_pairs(pairs: &Pairs) -> Result<Self, ApiError> {
        let attempt =
            pairs.parsed::<std::num::NonZeroU32>("attempt", "the number of an attempt")?;
        Ok(Self(attempt.map(|number| AttemptNo(number.get()))))
    }
}

/// The attempt, and the form of the answer.
pub(super) struct Wanted {
    of: Of,
    tar: bool,
}

impl FromQuery for Wanted {
    const NAMES: &'static [&'static str] = &["attempt", "format"];

    fn from_pairs(pairs: &Pairs) -> Result<Self, ApiError> {
        let tar = match pairs.one("format")? {
            None | Some("json") => false,
            Some("tar") => true,
            Some(other) => {
                let detail = format!("format={other:?} is neither json nor tar");
                return Err(ApiError::parameter(detail));
            }
        };
        Ok(Self { of: Of::from_pairs(pairs)?, tar })
    }
}

pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    JobPath(id): JobPath,
    Query(Wanted { of: Of(attempt), tar }): Query<Wanted>,
) -> Result<Response, ApiError> {
    let (artifacts, attempt) = service.artifacts(id, attempt).await?;
    if !tar {
        return Ok(Json(artifacts).into_response());
    }
    let number = attempt.number;
    let time = attempt.finished_at.unwrap_or(attempt.claimed_at);
    let archive = service.artifact_reader(id, number)?.archive(artifacts.artifacts, time);
    let headers = [
        (header::CONTENT_TYPE, "application/x-tar".to_owned()),
        (header::CONTENT_DISPOSITION, attachment(&format!("job-{id}-attempt-{number}.tar"))),
    ];
    Ok((headers, Body::from_stream(archive)).into_response())
}
