//! Requests that pages of other sites make through a person's browser.

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use orchestra_master::http::{self, Access, Hosts, Rule};
use serde_json::json;

use crate::harness::{Master, Reply, request};

/// Every route of the API, every page, and an address that does not exist.
fn addresses() -> Vec<(String, String)> {
    let mut all = of_programs();
    all.extend(filled_in(http::pages()));
    all
}

/// The addresses that are not pages.
fn of_programs() -> Vec<(String, String)> {
    let mut all: Vec<_> = filled_in(http::routes()).collect();
    all.extend(
        [("GET", "/nowhere"), ("OPTIONS", "/api/job"), ("PUT", "/api/job")]
            .map(|(method, path)| (method.to_owned(), path.to_owned())),
    );
    all
}

fn filled_in(routes: Vec<(Method, &'static str, Rule)>) -> impl Iterator<Item = (String, String)> {
    routes.into_iter().map(|(method, path, _)| {
        let path = path.replace("{id}", "1").replace("{attempt}", "1").replace("{name}", "w");
        (method.to_string(), path.replace("{*path}", "a"))
    })
}

async fn ask(master: &Master, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = request(method, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    master.send(request.body(Body::empty()).unwrap()).await
}

#[track_caller]
fn refused(reply: &Reply, status: u16, kind: &str, what: &str) {
    assert_eq!(
        (reply.status.as_u16(), reply.problem().as_str()),
        (status, kind),
        "{what}: {reply:?}"
    );
    assert!(reply.json()["hint"].is_string(), "{what}");
    let cors = reply.headers.keys().find(|name| name.as_str().starts_with("access-control"));
    assert_eq!(cors, None, "{what}");
}

#[tokio::test]
async fn a_rebound_name_reaches_nothing() {
    let master = Master::start().await;
    master.submit(json!({"command": "true"})).await;
    for (method, path) in addresses() {
        for host in ["evil.example", "localhost.evil.example:5216", "0.0.0.0:5216", "10.0.0.1"] {
            let reply = ask(&master, &method, &path, &[("host", host)]).await;
            refused(&reply, 421, "wrong-host", &format!("{method} {path} at {host}"));
        }
    }
    assert_eq!(master.job(1).await["status"], "Pending", "nothing was done to it");
}

#[tokio::test]
async fn a_page_of_another_site_reaches_nothing() {
    let master = Master::start().await;
    master.submit(json!({"command": "true"})).await;
    let own = ("host", "localhost:5216");
    for (method, path) in addresses() {
        for foreign in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("origin", "http://localhost:3000"),
            ("origin", "http://127.0.0.1:5216"),
            ("origin", "evil"),
        ] {
            let reply = ask(&master, &method, &path, &[own, foreign]).await;
            refused(&reply, 403, "cross-site", &format!("{method} {path} with {foreign:?}"));
        }
    }
    let events = [own, ("accept", "text/event-stream"), ("origin", "https://evil.example")];
    refused(&ask(&master, "GET", "/api/job/1/log", &events).await, 403, "cross-site", "events");
    assert_eq!(master.job(1).await["status"], "Pending", "nothing was done to it");
}

#[tokio::test]
async fn the_header_host_is_there_once_and_is_a_host() {
    let master = Master::start().await;
    let twice = [("host", "localhost"), ("host", "evil.example")];
    assert_eq!(ask(&master, "GET", "/healthz", &twice).await.problem(), "bad-parameter");
    for host in ["", "a b", "http://localhost"] {
        let reply = ask(&master, "GET", "/healthz", &[("host", host)]).await;
        assert_eq!(reply.problem(), "bad-parameter", "{host:?}");
    }
    // The host in the request line takes precedence over the header (RFC 9112, section 3.2.2).
    let absolute = request("GET", "http://evil.example/healthz").header("host", "localhost");
    let reply = master.send(absolute.body(Body::empty()).unwrap()).await;
    refused(&reply, 421, "wrong-host", "absolute");
}

#[tokio::test]
async fn programs_and_our_own_pages_are_let_in() {
    let master = Master::start().await;
    for headers in [
        &[][..],
        &[("host", "localhost:5216")],
        &[("host", "127.0.0.1:9000")],
        &[("host", "[::1]:5216")],
        &[("host", "localhost:5216"), ("sec-fetch-site", "none")],
        &[
            ("host", "localhost:5216"),
            ("sec-fetch-site", "same-origin"),
            ("origin", "http://localhost:5216"),
        ],
    ] {
        let reply = ask(&master, "GET", "/api/job", headers).await;
        assert_eq!(reply.status, StatusCode::OK, "{headers:?}: {reply:?}");
    }
}

/// Content types that a form can send without a preflight are refused, even for an empty body.
#[tokio::test]
async fn the_bodies_of_forms_are_refused() {
    let master = Master::start().await;
    master.submit(json!({"command": "true"})).await;
    for path in ["/api/job", "/api/job/claim", "/api/job/update", "/api/job/1/cancel"] {
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; x=y"]
        {
            let request = request("POST", path).header("content-type", kind);
            let reply = master.send(request.body(Body::from("{\"a\": 1}")).unwrap()).await;
            refused(&reply, 415, "unsupported-media-type", &format!("{path} as {kind}"));
        }
    }
    assert_eq!(master.job(1).await["status"], "Pending");
    // As `curl -d '' -X POST` sends it.
    let kind = ("content-type", "application/x-www-form-urlencoded");
    assert_eq!(ask(&master, "POST", "/api/job/1/cancel", &[kind]).await.status, 200);
}

#[tokio::test]
async fn names_that_the_operator_added_are_ours() {
    let hosts = Hosts::named(&["jobs.example".to_owned()]).unwrap();
    let master = Master::behind(Access::open("127.0.0.1".parse().unwrap(), hosts)).await;
    for headers in [
        &[("host", "jobs.example:443")][..],
        &[("host", "jobs.example"), ("origin", "https://jobs.example")],
        // As sent by a proxy that does not forward the host name.
        &[("host", "127.0.0.1:5216"), ("origin", "https://jobs.example")],
    ] {
        let reply = ask(&master, "GET", "/api/job", headers).await;
        assert_eq!(reply.status, StatusCode::OK, "{headers:?}: {reply:?}");
    }
    refused(&ask(&master, "GET", "/", &[("host", "example")]).await, 421, "wrong-host", "other");
}

#[tokio::test]
async fn where_tokens_are_needed_any_name_will_do_and_other_sites_still_will_not() {
    let master = Master::with_tokens().await;
    let reply = ask(&master, "GET", "/healthz", &[("host", "master:5216")]).await;
    assert_eq!(reply.status, StatusCode::OK);
    for (method, path) in addresses() {
        let foreign = [("host", "master:5216"), ("origin", "https://evil.example")];
        refused(&ask(&master, &method, &path, &foreign).await, 403, "cross-site", &path);
    }
}

/// Job output is data, even when a browser opens it. So these headers are on every answer of every API
/// route, errors included. Pages have a policy of their own.
#[tokio::test]
async fn every_answer_tells_browsers_to_do_nothing_with_it() {
    let master = Master::start().await;
    master.submit(json!({"command": "true"})).await;
    let events = ("GET".to_owned(), "/api/job/1/log".to_owned());
    for (method, path) in of_programs().into_iter().chain([events.clone()]) {
        let accept: &[_] = if path == events.1 { &[("accept", "text/event-stream")] } else { &[] };
        for headers in [accept, &[("host", "evil.example")], &[("host", "")]] {
            let response = {
                let mut request = request(&method, &path);
                for (name, value) in headers {
                    request = request.header(*name, *value);
                }
                master.open(request.body(Body::empty()).unwrap()).await
            };
            for (name, value) in [
                ("x-content-type-options", "nosniff"),
                ("content-security-policy", "default-src 'none'; frame-ancestors 'none'; sandbox"),
                ("cache-control", "no-store"),
                ("referrer-policy", "no-referrer"),
            ] {
                let is = response.headers().get(name).map(|value| value.to_str().unwrap());
                assert_eq!(is, Some(value), "{method} {path} {headers:?} {}", response.status());
            }
            let kind = response.headers().get("content-type");
            let kind = kind.map(|kind| kind.to_str().unwrap()).unwrap_or_default();
            assert!(!kind.contains("html") && !kind.contains("script"), "{method} {path}: {kind}");
        }
    }
}
