//! The log as plain text, streamed in bounded memory.

use std::{future, ops::RangeInclusive};

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use orchestra_contracts::{JobId, ProblemKind};

use crate::{
    http::{error::ApiError, range::Range},
    live::{Follow, FollowError, FollowEvent, Reading, Text, sse},
    service::Service,
};

const PLAIN: &str = "text/plain; charset=utf-8";

/// The whole log. With `follow` the response stays open. When a shutdown cuts it off, the body
/// breaks off with an error, since a regular end would say that the job has ended.
pub(super) fn whole(
    service: &Service,
    id: JobId,
    reading: Reading,
    timestamps: bool,
) -> Result<Response, ApiError> {
    let follow = reading.follow;
    let body = Body::from_stream(rendered(service.follow(id, reading)?, timestamps));
    let mut response = ([(header::CONTENT_TYPE, PLAIN)], [sse::NO_STORE], body).into_response();
    let (name, value) = if follow {
        sse::UNBUFFERED
    } else {
        (header::ACCEPT_RANGES, HeaderValue::from_static("bytes"))
    };
    response.headers_mut().insert(name, value);
    Ok(response)
}

/// A byte range of the log. Its length depends on the chosen streams and their form, so it is found
/// by reading everything once. Stored log does not change, so the second read finds the same bytes.
pub(super) async fn part(
    service: &Service,
    id: JobId,
    reading: &Reading,
    timestamps: bool,
    range: Range,
) -> Result<Response, ApiError> {
    let read = || {
        let follow = service.follow(id, reading.clone())?;
        Ok::<_, ApiError>(rendered(follow, timestamps))
    };
    let counted =
        read()?.try_fold(0, |sum, bytes| future::ready(Ok(sum + bytes.len() as u64))).await;
    let length = counted.map_err(interrupted)?;
    let Some(range) = range.within(length) else {
        let detail = format!("the log has {length} bytes now");
        let error = ApiError::new(ProblemKind::RangeNotSatisfiable, detail);
        return Err(error.header(header::CONTENT_RANGE, value(format!("bytes */{length}"))));
    };
    let (first, last) = (*range.start(), *range.end());
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(PLAIN)),
        (header::CONTENT_RANGE, value(format!("bytes {first}-{last}/{length}"))),
        (header::CONTENT_LENGTH, HeaderValue::from(last - first + 1)),
        (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        sse::NO_STORE,
    ];
    let body = Body::from_stream(clipped(read()?, range));
    Ok((StatusCode::PARTIAL_CONTENT, headers, body).into_response())
}

fn rendered(
    follow: Follow,
    timestamps: bool,
) -> impl Stream<Item = Result<Bytes, FollowError>> + Send + 'static {
    let mut text = Text::new(timestamps);
    follow.events().filter_map(move |event| {
        future::ready(match event {
            Ok(FollowEvent::Log { frame, .. }) => Some(Ok(text.render(&frame))),
            Ok(FollowEvent::State { .. } | FollowEvent::End { .. }) => None,
            Err(error) => {
                tracing::debug!(%error, "a log is cut off");
                Some(Err(error))
            }
        })
    })
}

/// Only these bytes of the stream. Reads no further than necessary.
fn clipped<E>(
    text: impl Stream<Item = Result<Bytes, E>>,
    range: RangeInclusive<u64>,
) -> impl Stream<Item = Result<Bytes, E>> {
    let (first, end) = (*range.start(), range.end() + 1);
    text.scan(0, move |position, bytes| {
        let begin = *position;
        future::ready((begin < end).then(|| {
            bytes.map(|bytes| {
                *position += bytes.len() as u64;
                let inner = |at: u64| at.clamp(begin, *position) - begin;
                bytes.slice(inner(first) as usize..inner(end) as usize)
            })
        }))
    })
}

fn interrupted(error: FollowError) -> ApiError {
    match error {
        FollowError::Store(error) => error.into(),
        FollowError::ShuttingDown => {
            ApiError::new(ProblemKind::Unavailable, "the master is shutting down")
                .header(header::RETRY_AFTER, HeaderValue::from_static("1"))
        }
    }
}

fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("digits are a header value")
}
