//! The tracing span of a request. It carries the request id to every log line about the request,
//! also while the response body streams.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::HeaderValue,
    response::Response,
};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use orchestra_program::TraceParent;
use tracing::Span;

use super::extract::Trace;

pub(super) fn of(request: &Request, id: &HeaderValue) -> Span {
    let id = id.to_str().unwrap_or_default();
    let Trace(trace) = Trace::of(request.headers());
    let trace_id = trace.as_ref().map(TraceParent::trace_id);
    tracing::info_span!("request", method = %request.method(), path = request.uri().path(), id, trace_id)
}

/// Keeps the span entered while the body streams. A complete body has nothing more to log.
pub(super) fn until_its_end(span: Span, response: Response) -> Response {
    if span.is_disabled() || response.body().size_hint().exact().is_some() {
        return response;
    }
    response.map(|inner| Body::new(SpannedBody { inner, span }))
}

struct SpannedBody {
    inner: Body,
    span: Span,
}

impl HttpBody for SpannedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Self { inner, span } = self.get_mut();
        let _within = span.enter();
        Pin::new(inner).poll_frame(context)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}
