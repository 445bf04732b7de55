//! The middleware around all routes: what happens to every request, whatever its path.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use futures::FutureExt as _;
use hyper::body::Body as _;
use orchestra_contracts::ProblemKind;
use tower_http::request_id::{MakeRequestId as _, MakeRequestUuid, RequestId};
use tracing::Instrument as _;

use super::{
    access::{Access, check_browser},
    error::{ApiError, internal},
    extract::Draining,
    metrics, refusals,
    serve::RequestSlot,
    span, web,
};
use crate::metrics::Metrics;

/// Correlates a response with the log lines about it.
const ID: HeaderName = HeaderName::from_static("x-request-id");

/// Maximum length of path and query in bytes. Reverse proxies often allow no more.
const ADDRESS: usize = 8 << 10;
/// Response headers that keep browsers from treating a job's output as anything but data: no type
/// sniffing, no scripts, no frames, no caching.
const FOR_BROWSERS: [(HeaderName, HeaderValue); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; sandbox"),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

/// The state of the middleware.
#[derive(Clone)]
struct RequestLayer {
    access: Access,
    metrics: Arc<Metrics>,
}

/// Wraps all routes in one middleware. There is not one for each concern, since each axum layer
/// copies everything below it for every request.
pub(super) fn around<S: Clone + Send + Sync + 'static>(
    routes: Router<S>,
    access: Access,
    metrics: Arc<Metrics>,
) -> Router<S> {
    let around = RequestLayer { access, metrics };
    routes
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn_with_state(around, surround))
}

/// Gives a request its id and the span that carries the id to every log line, counts the response,
/// and puts the id on it.
async fn surround(
    State(around): State<RequestLayer>,
    mut request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = metrics::known(request.method());
    let id = match request.headers().get(ID) {
        Some(id) => id.clone(),
        None => new_id(&request),
    };
    request.headers_mut().insert(ID, id.clone());
    let span = span::of(&request, &id);
    let answering = answered(&around.access, request, next).instrument(span.clone());
    let mut response = span::until_its_end(span, answering.await);
    response.headers_mut().entry(ID).or_insert(id);
    around.metrics.answered(method, metrics::route(route.as_ref()), response.status().as_u16());
    response
}

fn new_id(request: &Request) -> HeaderValue {
    let id = MakeRequestUuid.make_request_id(request);
    id.map_or(HeaderValue::from_static("-"), RequestId::into_header_value)
}

/// Catches panics, and logs refusals and renders them as pages for browsers.
async fn answered(access: &Access, request: Request, next: Next) -> Response {
    let asked = web::Asked::of(&request);
    // Unwind safe: no state of a request outlives its panic.
    let admitted = AssertUnwindSafe(looked_at(access, request, next)).catch_unwind();
    let response = admitted.await.unwrap_or_else(|panic| after_a_panic(&*panic));
    let mut response = asked.shown(response);
    for (name, value) in FOR_BROWSERS {
        // Headers that a route set itself take precedence.
        response.headers_mut().entry(name).or_insert(value);
    }
    refusals::noted(&response);
    response
}

/// Checks the request's head and the browser headers, and drains what the handler left of the body.
async fn looked_at(access: &Access, request: Request, next: Next) -> Response {
    let (request, rest) = kept_whole(request);
    let looked = check_head(&request).and_then(|()| check_browser(access, &request));
    let response = match looked {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            drop(request);
            refusal.into_response()
        }
    };
    if let Some(rest) = rest {
        rest.read_behind(response.status()).await;
    }
    response
}

async fn no_such_route(uri: Uri) -> ApiError {
    let detail = format!("there is nothing at {}", uri.path());
    ApiError::new(ProblemKind::NotFound, detail)
        .hint("docs/http-status.md and README.md name every address")
}

async fn no_such_method(method: Method, uri: Uri) -> ApiError {
    let detail = format!("{} does not know {method}", uri.path());
    ApiError::new(ProblemKind::MethodNotAllowed, detail)
        .hint("the header `allow` lists what it knows")
}

/// Turns a panic into a 500. The panic's text goes only to the log.
fn after_a_panic(payload: &(dyn Any + Send)) -> Response {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no text");
    tracing::error!(panic = text, "a request handler panicked");
    internal().into_response()
}

/// Checks that HTTP requires and the library does not make.
fn check_head(request: &Request) -> Result<(), ApiError> {
    let uri = request.uri();
    if uri.path().len() + uri.query().map_or(0, str::len) > ADDRESS {
        let detail = format!("the address has more than {ADDRESS} bytes");
        return Err(ApiError::new(ProblemKind::UriTooLong, detail));
    }
    // RFC 9112, section 3.2. Requests from within this process need no host header.
    let came_by_wire = request.extensions().get::<RequestSlot>().is_some();
    let headers = request.headers();
    if came_by_wire && request.version() == Version::HTTP_11 && !headers.contains_key(header::HOST)
    {
        return Err(ApiError::parameter("the header host is missing"));
    }
    Ok(())
}

/// The part of a request's body that the handler did not read.
struct UnreadBody {
    body: Draining,
    slot: Option<RequestSlot>,
}

/// Makes it possible to drain the body before the response: a client that is still sending would
/// otherwise see a connection reset instead of, say, a 404 for ten megabytes.
fn kept_whole(request: Request) -> (Request, Option<UnreadBody>) {
    // A client that waits for "100 Continue" has not sent its body yet.
    if request.body().is_end_stream() || request.headers().contains_key(header::EXPECT) {
        return (request, None);
    }
    let (parts, body) = request.into_parts();
    let body = Draining::new(body);
    let rest =
        UnreadBody { body: body.clone(), slot: parts.extensions.get::<RequestSlot>().cloned() };
    (Request::from_parts(parts, Body::new(body)), Some(rest))
}

impl UnreadBody {
    async fn read_behind(self, answered: StatusCode) {
        // Draining holds a slot, so it is skipped when clients have used up their share.
        let is_crowded = self.slot.is_some_and(|slot| slot.is_crowded());
        if answered != StatusCode::REQUEST_TIMEOUT && !is_crowded {
            self.body.discard().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use http_body_util::BodyExt;
    use orchestra_contracts::PROBLEM_JSON;
    use tower::ServiceExt;

    use super::*;
    use crate::http::Hosts;

    async fn panics() {
        panic!("the text of a panic");
    }

    #[tokio::test]
    async fn the_text_of_a_panic_reaches_nobody() {
        let access = Access::with_tokens(Hosts::default());
        let router = around(Router::new().route("/", get(panics)), access, Arc::default());
        let response = router.oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()[header::CONTENT_TYPE], PROBLEM_JSON);
        assert!(response.headers().contains_key("x-request-id"));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(!String::from_utf8_lossy(&body).contains("the text"), "{body:?}");
    }

    #[tokio::test]
    async fn a_panic_is_the_end_of_its_request_alone() {
        let access = Access::with_tokens(Hosts::default());
        let routes = Router::new().route("/", get(panics)).route("/good", get(async || "good"));
        let router = around(routes, access, Arc::default());
        let status = async |path: &str| {
            let request = Request::get(path).body(Body::empty()).unwrap();
            router.clone().oneshot(request).await.unwrap().status()
        };
        for _ in 0..10 {
            assert_eq!(status("/").await, StatusCode::INTERNAL_SERVER_ERROR);
            for _ in 0..100 {
                assert_eq!(status("/good").await, StatusCode::OK);
            }
        }
    }
}
