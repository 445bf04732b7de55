//! `GET /api/job/{id}/log`: one resource, as text or as server-sent events, complete or live.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::Response,
};
use orchestra_contracts::{AttemptNo, event::Cursor};

use crate::{
    http::{
        error::ApiError,
        extract::{FromQuery, JobPath, Pairs, Query},
        range,
    },
    live::{Reading, Start, Streams, sse},
    service::{Service, view_job},
};

mod text;

const LAST_EVENT_ID: &str = "last-event-id";

/// The requested part of the log, and its form.
pub(super) struct Wanted {
    attempt: Option<AttemptNo>,
    streams: Option<Streams>,
    tail: Option<u64>,
    after: Option<Cursor>,
    timestamps: bool,
    follow: bool,
}

impl FromQuery for Wanted {
    const NAMES: &'static [&'static str] =
        &["attempt", "stream", "tail", "after", "timestamps", "follow"];

    fn from_pairs(pairs: &Pairs) -> Result<Self, ApiError> {
        let attempt =
            pairs.parsed::<std::num::NonZeroU32>("attempt", "the number of an attempt")?;
        Ok(Self {
            attempt: attempt.map(|number| AttemptNo(number.get())),
            streams: streams(pairs)?,
            tail: pairs.parsed("tail", "a number of lines")?,
            after: pairs.parsed("after", "a position like 1-4096")?,
            timestamps: pairs.flag("timestamps")?,
            follow: pairs.flag("follow")?,
        })
    }
}

impl Wanted {
    /// A position takes precedence over `tail`: the client was there already.
    fn reading(
        &self,
        after: Option<Cursor>,
        streams: Streams,
        follow: bool,
    ) -> (Reading, Option<u64>) {
        let start = Start { cursor: after.unwrap_or_default(), skip: 0 };
        let streams = self.streams.unwrap_or(streams);
        let tail = if after.is_some() { None } else { self.tail };
        (Reading { start, streams, attempt: self.attempt, follow }, tail)
    }
}

/// By default events cover every stream, since an event names its stream; text covers only the
/// command's own.
pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    JobPath(id): JobPath,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if wants_events(&headers) {
        let after = last_event_id(&headers)?.or(wanted.after);
        let (reading, tail) = wanted.reading(after, Streams::ALL, true);
        let reading = service.log_reading(id, reading, tail).await?;
        return Ok(sse::response(service.follow(id, reading)?, view_job));
    }
    let (reading, tail) = wanted.reading(wanted.after, Streams::OUTPUT, wanted.follow);
    let reading = service.log_reading(id, reading, tail).await?;
    match range::wanted(&headers).filter(|_| !wanted.follow) {
        Some(range) => text::part(&service, id, &reading, wanted.timestamps, range).await,
        None => text::whole(&service, id, reading, wanted.timestamps),
    }
}

fn wants_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|kind| {
        kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/event-stream")
    })
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<Cursor>, ApiError> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let refuse = |reason| ApiError::parameter(format!("the header {LAST_EVENT_ID}: {reason}"));
    text.parse().map(Some).map_err(refuse)
}

fn streams(pairs: &Pairs) -> Result<Option<Streams>, ApiError> {
    let mut streams = None;
    for word in pairs.words("stream") {
        let chosen = streams.get_or_insert_with(Streams::default);
        match word {
            "stdout" => chosen.stdout = true,
            "stderr" => chosen.stderr = true,
            "system" => chosen.system = true,
            "all" => *chosen = Streams::ALL,
            other => {
                let detail = format!("stream={other:?} is not stdout, stderr, system or all");
                return Err(ApiError::parameter(detail));
            }
        }
    }
    Ok(streams)
}
