//! Error responses as pages, for browsers.

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, Uri, header},
    response::Response,
};
use maud::{Markup, html};
use orchestra_contracts::{Problem, ProblemKind, paths};

use super::{
    layout::Page,
    text::{Line, Sentence},
};
use crate::http::error::Refused;

/// Addresses for programs, which never answer with a page.
const OF_PROGRAMS: [&str; 5] =
    ["/api/", paths::HEALTHZ, paths::READYZ, paths::DESCRIPTION, paths::METRICS];

/// The address, if a browser asks for a page. `None` for a program's request.
pub(in crate::http) struct Asked(Option<Uri>);

impl Asked {
    pub(in crate::http) fn of(request: &Request) -> Self {
        let for_people = wants_page(request.headers()) && !is_of_programs(request.uri().path());
        Self(for_people.then(|| request.uri().clone()))
    }

    pub(in crate::http) fn shown(self, response: Response) -> Response {
        let Self(Some(uri)) = self else { return response };
        match response.extensions().get::<Refused>().cloned() {
            Some(Refused(problem)) => written(response, &problem, &uri),
            None => response,
        }
    }
}

fn wants_page(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|kind| {
        kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/html")
    })
}

fn is_of_programs(path: &str) -> bool {
    OF_PROGRAMS.iter().any(|it| path.starts_with(it))
}

/// Replaces the response's body with a page. Keeps its status and headers.
fn written(response: Response, problem: &Problem, uri: &Uri) -> Response {
    let (mut parts, _) = response.into_parts();
    let page = Page::for_strangers(&problem.title).show(&body(problem, uri));
    let (page, body) = page.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.extend(page.headers);
    Response::from_parts(parts, Body::new(body))
}

fn body(problem: &Problem, uri: &Uri) -> Markup {
    let again = uri.path_and_query().map_or("/", |path| path.as_str());
    html! {
        section.card.narrow {
            p.muted { (problem.status) }
            h1 { (problem.title) }
            @if problem.kind == ProblemKind::CrossSite {
                // This link is on our own page, so its request is not refused.
                p { "A link on another site led here." }
                p { a.button.primary href=(local(again)) { "Open it" } }
            } @else {
                p { (Line(&problem.detail)) }
                @if let Some(hint) = &problem.hint { p.muted { (Sentence(hint)) } }
                p { a href=(paths::HOME) { "Go to the overview" } }
            }
        }
    }
}

/// A path that begins with two slashes would lead to another host.
fn local(path: &str) -> &str {
    if path.starts_with("//") { "/" } else { path }
}
