//! A log as server-sent events. The id of each event is the position after it, so `Last-Event-ID`
//! resumes exactly there.

use std::time::Duration;

use axum::{
    http::{HeaderName, HeaderValue, header},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures::{StreamExt, future};
use orchestra_contracts::{
    Job,
    event::{Cursor, END, LOG, LogEvent, STATE},
};

use super::{Follow, FollowError, FollowEvent};
use crate::domain;

/// The keep-alive interval: proxies close connections that are silent for 30 to 60 seconds.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Tells proxies (nginx at least) not to buffer.
pub const UNBUFFERED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
pub const NO_STORE: (HeaderName, HeaderValue) =
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));

/// The open response. `show` renders a job.
pub fn response(follow: Follow, show: fn(&domain::Job) -> Job) -> Response {
    let events = follow.events().filter_map(move |event| future::ready(written(event, show)));
    let sse = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    ([UNBUFFERED, NO_STORE], sse).into_response()
}

/// An early end has no `end` event, by which a client knows to reconnect.
fn written(
    event: Result<FollowEvent, FollowError>,
    show: fn(&domain::Job) -> Job,
) -> Option<Result<Event, axum::Error>> {
    let head = |name: &str, after: Cursor| Event::default().event(name).id(after.to_string());
    let event = match event {
        Ok(FollowEvent::Log { attempt, frame, after }) => {
            head(LOG, after).json_data(LogEvent::new(attempt, &frame))
        }
        Ok(FollowEvent::State { job, after }) => head(STATE, after).json_data(show(&job)),
        Ok(FollowEvent::End { job, after }) => head(END, after).json_data(show(&job)),
        Err(FollowError::ShuttingDown) => return None,
        Err(FollowError::Store(error)) => {
            tracing::warn!(%error, "an event stream ends early");
            return None;
        }
    };
    Some(event)
}
