//! Refuses requests that another site's page makes through a user's browser, reads and streams
//! included. Programs like curl send none of these headers except `host`.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, Method, Uri, header, uri::Authority},
};
use hyper::body::Body as _;
use orchestra_contracts::{ProblemKind, paths};

use super::Access;
use crate::http::error::ApiError;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// The forms of our own pages. See [`is_our_page`].
const OUR_FORMS: [&str; 3] = [paths::SIGN_IN, paths::SIGN_OUT, paths::JOBS_PAGE];
/// Content types that a page may send cross-origin without a preflight
/// (<https://fetch.spec.whatwg.org>).
const FORMS: [&str; 3] = ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];

/// Runs before every route, and also for paths without a route.
pub(in crate::http) fn check(access: &Access, request: &Request) -> Result<(), ApiError> {
    let headers = request.headers();
    let host = host(request.uri(), headers)?;
    // Rebinding a name gains nothing where a token is required: cookies belong to names, so the
    // browser has no cookie to send to the rebound one.
    if let Some(host) = host.as_ref().filter(|host| access.open && !access.hosts.know(host)) {
        let detail = format!("this master is not known as {host}");
        return Err(ApiError::new(ProblemKind::WrongHost, detail)
            .hint("ask for it as localhost, or let the operator add the name to ORCHESTRA_HOSTS"));
    }
    same_site(headers)?;
    same_origin(access, host.as_ref(), headers)?;
    no_form(request)
}

/// The requested host. A client that sends none is not a browser.
fn host(uri: &Uri, headers: &HeaderMap) -> Result<Option<Authority>, ApiError> {
    if let Some(authority) = uri.authority() {
        return Ok(Some(authority.clone()));
    }
    let mut given = headers.get_all(header::HOST).iter();
    let (first, second) = (given.next(), given.next());
    if second.is_some() {
        return Err(ApiError::parameter("the header host stands there twice"));
    }
    let Some(value) = first else { return Ok(None) };
    let authority = Authority::try_from(value.as_bytes());
    authority.map(Some).map_err(|_| ApiError::parameter("the header host is not a host"))
}

/// Whether the browser says that our own page makes the request. Required for changes with a
/// cookie, and for forms. Runs after [`check`], which leaves no other origins.
pub(in crate::http) fn is_our_page(headers: &HeaderMap) -> bool {
    match headers.get(SEC_FETCH_SITE) {
        Some(site) => site == "same-origin",
        None => headers.contains_key(header::ORIGIN),
    }
}

/// Newer browsers report whether our own page makes the request.
fn same_site(headers: &HeaderMap) -> Result<(), ApiError> {
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    match sites.find(|site| !matches!(site.as_bytes(), b"same-origin" | b"none")) {
        Some(_) => Err(cross_site("another site's page asks for this")),
        None => Ok(()),
    }
}

/// Older browsers report at least the page's origin.
fn same_origin(
    access: &Access,
    host: Option<&Authority>,
    headers: &HeaderMap,
) -> Result<(), ApiError> {
    for origin in headers.get_all(header::ORIGIN) {
        let origin = origin.to_str().ok().and_then(|text| text.split_once("://"));
        let origin = origin.and_then(|(_, authority)| authority.parse::<Authority>().ok());
        let ours = origin.is_some_and(|it| host == Some(&it) || access.hosts.name(&it));
        if !ours {
            return Err(cross_site("a page of another origin asks for this"));
        }
    }
    Ok(())
}

/// For browsers that report nothing: refuses the content types that need no preflight.
fn no_form(request: &Request) -> Result<(), ApiError> {
    if matches!(*request.method(), Method::GET | Method::HEAD) || request.body().is_end_stream() {
        return Ok(());
    }
    if OUR_FORMS.contains(&request.uri().path()) && is_our_page(request.headers()) {
        return Ok(());
    }
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    if FORMS.iter().any(|form| form.eq_ignore_ascii_case(kind)) {
        return Err(ApiError::not_json(format!("the body is {kind:?}, not JSON")));
    }
    Ok(())
}

fn cross_site(detail: &str) -> ApiError {
    ApiError::new(ProblemKind::CrossSite, detail)
        .hint("use a program that is no browser, or a page that this master serves itself")
}
