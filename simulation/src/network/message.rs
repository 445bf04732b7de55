//! A request in transit, held whole so that it can be delivered more than once.

use axum::body::Body;
use bytes::Bytes;
use reqwest::Request;

/// A request in transit.
#[derive(Clone, Debug)]
pub(super) struct Message {
    method: reqwest::Method,
    target: String,
    headers: reqwest::header::HeaderMap,
    body: Bytes,
}

impl Message {
    pub(super) fn of(request: &Request) -> Self {
        let url = request.url();
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
        Self {
            method: request.method().clone(),
            target,
            headers: request.headers().clone(),
            body: Bytes::copy_from_slice(body),
        }
    }

    pub(super) fn to_request(&self) -> axum::http::Request<Body> {
        let mut request = axum::http::Request::new(Body::from(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.parse().expect("a client's addresses are well formed");
        *request.headers_mut() = self.headers.clone();
        request
            .headers_mut()
            .insert("host", axum::http::HeaderValue::from_static("localhost:5216"));
        let length = self.body.len().into();
        request.headers_mut().insert("content-length", length);
        request
    }

    /// A manual retry must not be duplicated: no client of ours sends one twice.
    pub(super) fn may_be_doubled(&self) -> bool {
        self.method != reqwest::Method::POST || !self.target.ends_with("/retry")
    }

    pub(super) fn name(&self) -> String {
        format!("{} {}", self.method, self.target)
    }
}
