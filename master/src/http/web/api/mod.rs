//! `GET /docs`: the API for people, rendered from its description for programs: each call with its
//! parameters, bodies, answers and a curl command.
//!
//! * `call` renders a call, `schema` the schemas of bodies.

mod call;
mod schema;

use std::sync::LazyLock;

use axum::response::Response;
use maud::{Markup, html};
use orchestra_contracts::{DEFAULT_PORT, OPENAPI, paths};
use serde_json::{Map, Value};

use self::call::Call;
use super::{layout::Page, text::Sentence};
use crate::http::extract::NoQuery;

/// Rendered at the first request: it is the same for everybody.
static BODY: LazyLock<Markup> = LazyLock::new(|| {
    // The description is compiled in, and tests check it.
    let document = serde_json::from_str(OPENAPI).unwrap_or_default();
    body(&document)
});

pub(super) async fn handler(_: NoQuery) -> Response {
    Page::for_all(paths::API_PAGE, "API").show(&BODY)
}

fn body(document: &Value) -> Markup {
    let calls = call::all(document);
    let groups = list(&document["tags"]);
    html! {
        h1 { "API" }
        section {
            p { (Sentence(text(&document["info"]["description"]))) }
            p {
                "The curl examples use a master on this machine without tokens. If tokens are enabled, add "
                code { "-H \"authorization: Bearer $ORCHESTRA_TOKEN\"" } ", and use the master's address instead of "
                code { "localhost:" (DEFAULT_PORT) } ". The machine-readable description is at "
                a href=(paths::DESCRIPTION) { code { (paths::DESCRIPTION) } } "."
            }
        }
        nav.contents aria-label="Calls" {
            @for group in groups {
                h2 { a href={ "#" (anchor(text(&group["name"]))) } { (text(&group["name"])) } }
                ul { @for call in calls.iter().filter(|call| call.is_in(group)) {
                    li { a href={ "#" (call.id()) } { (call.title()) } " " span.muted { (Sentence(call.summary())) } }
                } }
            }
        }
        @for group in groups { (section(group, &calls)) }
        section #schemas {
            h2 { "Schemas" }
            @for (name, schema) in object(&document["components"]["schemas"]) {
                (schema::named(name, schema))
            }
        }
    }
}

fn section(group: &Value, calls: &[Call<'_>]) -> Markup {
    let name = text(&group["name"]);
    html! {
        section id=(anchor(name)) {
            h2 { (name) }
            p.muted { (text(&group["description"])) }
            @for call in calls.iter().filter(|call| call.is_in(group)) { (call.show()) }
        }
    }
}

fn anchor(name: &str) -> String {
    format!("group-{}", name.to_lowercase().replace(' ', "-"))
}

/// Missing text is empty: tests check that the description is complete.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

/// The examples of a body, shortest first.
fn examples(body: &Value) -> Vec<&Value> {
    let mut all: Vec<_> = object(&body["examples"]).map(|(_, example)| example).collect();
    all.sort_by_key(|example| example["value"].to_string().len());
    all
}

/// Indented JSON.
fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
