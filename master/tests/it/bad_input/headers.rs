//! Headers: stream positions, ranges, and headers that only browsers send.

use super::{JOBS, Row, ask, check, post};

const LOG: &str = "/api/job/1/log";
const SPEC: &str = r#"{"command": "true"}"#;

const fn events(headers: &'static [(&'static str, &'static str)]) -> Row {
    ask("GET", LOG, 400, "bad-parameter").with(headers)
}

const fn foreign(headers: &'static [(&'static str, &'static str)]) -> Row {
    post(JOBS, SPEC, 403, "cross-site").with(headers)
}

const fn misdirected(headers: &'static [(&'static str, &'static str)]) -> Row {
    ask("GET", JOBS, 421, "wrong-host").with(headers)
}

const fn no_host(headers: &'static [(&'static str, &'static str)]) -> Row {
    ask("GET", JOBS, 400, "bad-parameter").with(headers)
}

const SSE: (&str, &str) = ("accept", "text/event-stream");
const AS_JSON: (&str, &str) = ("content-type", "application/json");

const LONG_KEY: &str = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk\
    kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk\
    kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk\
    kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk";

const fn keyed(headers: &'static [(&'static str, &'static str)]) -> Row {
    post(JOBS, SPEC, 400, "bad-parameter").with(headers)
}

pub(super) const ROWS: &[Row] = &[
    keyed(&[AS_JSON, ("idempotency-key", "")]),
    keyed(&[AS_JSON, ("idempotency-key", "a b")]),
    keyed(&[AS_JSON, ("idempotency-key", "a\"b")]),
    keyed(&[AS_JSON, ("idempotency-key", "\"a")]),
    keyed(&[AS_JSON, ("idempotency-key", "\u{fc}ber")]),
    keyed(&[AS_JSON, ("idempotency-key", LONG_KEY)]),
    keyed(&[AS_JSON, ("idempotency-key", "a"), ("idempotency-key", "b")]),
    events(&[SSE, ("last-event-id", "")]),
    events(&[SSE, ("last-event-id", "abc")]),
    events(&[SSE, ("last-event-id", "-1")]),
    events(&[SSE, ("last-event-id", "1-")]),
    events(&[SSE, ("last-event-id", "9e99")]),
    events(&[SSE, ("last-event-id", "1-1-1")]),
    events(&[SSE, ("last-event-id", "1-99999999999999999999")]),
    ask("GET", "/api/job/99/log", 404, "not-found").with(&[SSE]),
    ask("GET", LOG, 416, "range-not-satisfiable").with(&[("range", "bytes=0-")]),
    ask("GET", LOG, 416, "range-not-satisfiable").with(&[("range", "bytes=5-1")]),
    ask("GET", LOG, 416, "range-not-satisfiable").with(&[("range", "bytes=-0")]),
    foreign(&[AS_JSON, ("origin", "https://evil.example")]),
    foreign(&[AS_JSON, ("origin", "null")]),
    foreign(&[AS_JSON, ("origin", "file://")]),
    foreign(&[AS_JSON, ("origin", "http://localhost.evil.example")]),
    foreign(&[AS_JSON, ("sec-fetch-site", "cross-site")]),
    foreign(&[AS_JSON, ("sec-fetch-site", "same-site")]),
    foreign(&[AS_JSON, ("sec-fetch-site", "new")]),
    ask("OPTIONS", JOBS, 403, "cross-site").with(&[("origin", "https://evil.example")]),
    misdirected(&[("host", "evil.example")]),
    misdirected(&[("host", "0.0.0.0:5216")]),
    misdirected(&[("host", "localhost.evil.example")]),
    misdirected(&[("host", "127.0.0.1.evil.example")]),
    misdirected(&[("host", "user@localhost")]),
    misdirected(&[("host", "[::2]")]),
    no_host(&[("host", "")]),
    no_host(&[("host", "a b")]),
    no_host(&[("host", "http://localhost")]),
    no_host(&[("host", "localhost"), ("host", "localhost")]),
    no_host(&[("host", "localhost"), ("host", "evil.example")]),
];

#[tokio::test]
async fn headers_that_do_not_parse() {
    check(ROWS).await;
}
