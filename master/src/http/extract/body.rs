//! Reads bodies, with limits on size and time.

use std::{
    mem,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use orchestra_contracts::{ProblemKind, worker::ARTIFACT_PIECE};
use tokio::time::{Instant, timeout, timeout_at};

use crate::http::error::ApiError;

/// Maximum pause between two pieces. A longer one means that the client is gone or hostile.
const PAUSE: Duration = Duration::from_secs(10);
/// The limit on receiving a whole body, whatever its rate.
const WHOLE: Duration = Duration::from_mins(1);
/// Minimum rate in bytes per second after the first pause: a client that trickles is cut off as
/// early as one that sends nothing.
const RATE: usize = 16 << 10;
/// Maximum size of a log upload.
const FRAMES: usize = 1 << 20;
/// Maximum number of bytes to read and discard, so that a client that is still sending gets to read
/// the refusal, not a connection reset.
const DISCARD: usize = 32 << 20;
const DISCARD_TIME: Duration = Duration::from_secs(5);

/// Reads the whole body. Refuses one that is too long or too slow.
pub(super) async fn read(mut body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let begun = Instant::now();
    let mut read = BytesMut::new();
    // Refuses a declared length before reading anything.
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large(limit));
    }
    loop {
        let earned = PAUSE + Duration::from_secs((read.len() / RATE) as u64);
        let until = (begun + earned.min(WHOLE)).min(Instant::now() + PAUSE);
        let Some(bytes) = next_bytes(&mut body, until).await? else { return Ok(read.freeze()) };
        if read.len() + bytes.len() > limit {
            return Err(too_large(limit));
        }
        read.extend_from_slice(&bytes);
    }
}

/// The next bytes that arrive. `None` at the end.
async fn next_bytes(body: &mut Body, until: Instant) -> Result<Option<Bytes>, ApiError> {
    let frame = timeout_at(until, body.frame()).await.map_err(|_| too_slow())?;
    let Some(frame) = frame else { return Ok(None) };
    let frame = frame.map_err(|_| ApiError::new(ProblemKind::Unreadable, "the body broke off"))?;
    // Trailers are ignored.
    Ok(Some(frame.into_data().unwrap_or_default()))
}

pub(super) fn too_large(limit: usize) -> ApiError {
    let detail = format!("the body has more than {limit} bytes, the most that this address takes");
    ApiError::new(ProblemKind::TooLarge, detail)
}

fn too_slow() -> ApiError {
    ApiError::new(ProblemKind::RequestTimeout, "the body did not arrive in time")
}

/// A body of log frames, not parsed yet.
pub(in crate::http) struct Frames(pub(in crate::http) Bytes);

impl<S: Send + Sync> FromRequest<S> for Frames {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        octets(request, "log frames are", FRAMES).await.map(Self)
    }
}

/// A body that is a piece of a file.
pub(in crate::http) struct Piece(pub(in crate::http) Bytes);

impl<S: Send + Sync> FromRequest<S> for Piece {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        octets(request, "a piece of a file is", ARTIFACT_PIECE).await.map(Self)
    }
}

/// A file, or a piece of one, of any length. It is read in pieces as it arrives.
pub(in crate::http) struct Pieces {
    body: Body,
    /// The received part of the next piece.
    arrived: BytesMut,
    /// Number of bytes in all pieces before it.
    read: usize,
    begun: Instant,
}

/// Accepts a body without a content type, as `curl -T` sends it.
impl<S: Send + Sync> FromRequest<S> for Pieces {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        if media_type(request.headers()).is_some_and(|it| it != OCTETS) {
            return Err(no_octets("a file is"));
        }
        let (arrived, begun) = (BytesMut::new(), Instant::now());
        Ok(Self { body: request.into_body(), arrived, read: 0, begun })
    }
}

impl Pieces {
    /// The next piece. All but the last have the length of the pieces that workers send.
    pub(in crate::http) async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        while self.arrived.len() < ARTIFACT_PIECE {
            let so_far = self.read + self.arrived.len();
            let earned = PAUSE + Duration::from_secs((so_far / RATE) as u64);
            let until = (self.begun + earned).min(Instant::now() + PAUSE);
            let Some(bytes) = next_bytes(&mut self.body, until).await? else { break };
            self.arrived.extend_from_slice(&bytes);
        }
        let piece = self.arrived.split_to(self.arrived.len().min(ARTIFACT_PIECE)).freeze();
        self.read += piece.len();
        Ok((!piece.is_empty()).then_some(piece))
    }
}

async fn octets(request: Request, they_are: &str, limit: usize) -> Result<Bytes, ApiError> {
    if media_type(request.headers()).as_deref() != Some(OCTETS) {
        return Err(no_octets(they_are));
    }
    read(request.into_body(), limit).await
}

const OCTETS: &str = "application/octet-stream";

fn no_octets(they_are: &str) -> ApiError {
    let detail = format!("{they_are} sent as {OCTETS}");
    ApiError::new(ProblemKind::UnsupportedMediaType, detail)
}

/// The media type in lower case, without parameters.
pub(super) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next()?.trim().to_ascii_lowercase())
}

/// A body that a handler may leave partly unread. A clone can discard the rest.
#[derive(Clone)]
pub(in crate::http) struct Draining(Arc<Mutex<Body>>);

impl Draining {
    pub(in crate::http) fn new(body: Body) -> Self {
        Self(Arc::new(Mutex::new(body)))
    }

    /// Reads and discards the rest, within limits.
    pub(in crate::http) async fn discard(self) {
        let mut body = mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let discard = async {
            let mut left = DISCARD;
            while let Some(Ok(frame)) = body.frame().await {
                let length = frame.data_ref().map_or(0, Bytes::len);
                let Some(rest) = left.checked_sub(length) else { break };
                left = rest;
            }
        };
        // Clients that send more, or more slowly, are cut off.
        let _ = timeout(DISCARD_TIME, discard).await;
    }
}

impl HttpBody for Draining {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Pin::new(&mut *body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::{StreamExt, stream};

    use super::*;

    /// With paused time, which advances when all tasks wait.
    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let begun = Instant::now();
        let begin = stream::iter([Ok::<_, Infallible>(Bytes::from("{"))]);
        let error = read(Body::from_stream(begin.chain(stream::pending())), 10).await.unwrap_err();
        assert!(format!("{error:?}").contains("RequestTimeout"), "{error:?}");
        assert_eq!(begun.elapsed(), PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_drips_is_not_waited_for_either() {
        let begun = Instant::now();
        let drop = async |()| {
            tokio::time::sleep(Duration::from_secs(5)).await;
            Some((Ok::<_, Infallible>(Bytes::from("x")), ()))
        };
        let error = read(Body::from_stream(stream::unfold((), drop)), 100).await.unwrap_err();
        assert!(format!("{error:?}").contains("RequestTimeout"), "{error:?}");
        assert_eq!(begun.elapsed(), PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_only_slow_is_read() {
        let piece = async |left: usize| {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let piece = || Ok::<_, Infallible>(Bytes::from(vec![b'x'; RATE]));
            left.checked_sub(1).map(|left| (piece(), left))
        };
        let body = Body::from_stream(stream::unfold(40, piece));
        assert_eq!(read(body, 1 << 20).await.unwrap().len(), 40 * RATE);
        let begun = Instant::now();
        let body = Body::from_stream(stream::unfold(100, piece));
        assert!(read(body, 10 << 20).await.is_err());
        assert_eq!(begun.elapsed(), WHOLE);
    }

    #[tokio::test]
    async fn what_is_too_long_is_refused_early() {
        let error = read(Body::from(vec![0; 11]), 10).await.unwrap_err();
        assert!(format!("{error:?}").contains("TooLarge"), "{error:?}");
        let endless = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from("xxx")));
        let error = read(Body::from_stream(endless), 10).await.unwrap_err();
        assert!(format!("{error:?}").contains("TooLarge"), "{error:?}");
        assert_eq!(read(Body::from("0123456789"), 10).await.unwrap(), "0123456789");
    }
}
