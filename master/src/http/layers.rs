//! What happens to every request, whatever its address.

use std::any::Any;

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use hyper::body::Body as _;
use orchestra_contracts::ProblemKind;
use orchestra_program::TraceParent;
use tower_http::{
    catch_panic::CatchPanicLayer,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, RequestId, SetRequestIdLayer},
    trace::TraceLayer,
};

use super::{
    access::{Access, check_browser},
    error::{ApiError, internal},
    extract::{Draining, Trace},
    refusals,
    serve::Lane,
    web,
};

/// Longer addresses than this lead nowhere; servers in front of us often take no more.
const ADDRESS: usize = 8 << 10;
/// What every answer says to browsers, so that nothing that a job wrote is more
/// than data there: no guessing of types, no scripts, no frames, no copies.
const FOR_BROWSERS: [(HeaderName, HeaderValue); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; sandbox"),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

/// Puts the routes into what surrounds them all. The layer that is added last
/// sees a request first: it gets its id, then the span that carries the id to
/// every line logged, then refusals are noted, and become pages for people, then comes
/// the net under panics, then its body is kept whole, then its head and browsers are
/// looked at.
pub(super) fn around<S: Clone + Send + Sync + 'static>(
    routes: Router<S>,
    access: Access,
) -> Router<S> {
    routes
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn_with_state(access, check_browser))
        .layer(middleware::from_fn(check_head))
        .layer(middleware::from_fn(read_to_the_end))
        .layer(CatchPanicLayer::custom(after_a_panic))
        .layer(middleware::from_fn(web::refusal_as_page))
        .layer(middleware::map_response(for_browsers))
        .layer(middleware::from_fn(refusals::noted))
        // Failures are logged where they are handled, with what was wrong.
        .layer(TraceLayer::new_for_http().make_span_with(span).on_failure(()))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
}

fn span(request: &Request) -> tracing::Span {
    let id = request.extensions().get::<RequestId>();
    let id = id.and_then(|id| id.header_value().to_str().ok()).unwrap_or_default();
    let Trace(trace) = Trace::of(request.headers());
    let trace_id = trace.as_ref().map(TraceParent::trace_id);
    tracing::info_span!("request", method = %request.method(), path = request.uri().path(), id, trace_id)
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

/// The panic's text is for the log alone.
#[expect(clippy::needless_pass_by_value, reason = "the layer hands the payload over")]
fn after_a_panic(payload: Box<dyn Any + Send>) -> Response {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no text");
    tracing::error!(panic = text, "a request handler panicked");
    internal().into_response()
}

/// What a route sets itself stays.
async fn for_browsers(mut response: Response) -> Response {
    for (name, value) in FOR_BROWSERS {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

/// What HTTP itself asks of a request, and the library does not look at.
async fn check_head(request: Request, next: Next) -> Response {
    let uri = request.uri();
    if uri.path().len() + uri.query().map_or(0, str::len) > ADDRESS {
        let detail = format!("the address has more than {ADDRESS} bytes");
        return ApiError::new(ProblemKind::UriTooLong, detail).into_response();
    }
    // RFC 9112, section 3.2. Within this process nobody needs a name for us.
    let came_by_wire = request.extensions().get::<Lane>().is_some();
    let headers = request.headers();
    if came_by_wire && request.version() == Version::HTTP_11 && !headers.contains_key(header::HOST)
    {
        return ApiError::parameter("the header host is missing").into_response();
    }
    next.run(request).await
}

/// Lets a client that is still sending finish before it gets its answer, for
/// instance a 404 for ten megabytes: otherwise it would see a reset connection.
async fn read_to_the_end(request: Request, next: Next) -> Response {
    // Whoever waits for "100 Continue" has sent nothing yet.
    if request.body().is_end_stream() || request.headers().contains_key(header::EXPECT) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let body = Draining::new(body);
    let lane = parts.extensions.get::<Lane>().cloned();
    let response = next.run(Request::from_parts(parts, Body::new(body.clone()))).await;
    // There is time for that only where nobody else waits for the room.
    let is_crowded = lane.is_some_and(|lane| lane.is_crowded());
    if response.status() != StatusCode::REQUEST_TIMEOUT && !is_crowded {
        body.discard().await;
    }
    response
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
        let router = around(Router::new().route("/", get(panics)), access);
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
        let router = around(routes, access);
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
