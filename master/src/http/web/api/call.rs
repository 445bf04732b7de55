//! One call: its access rule, parameters, bodies and answers.

use maud::{Markup, html};
use orchestra_contracts::DEFAULT_PORT;
use serde_json::Value;

use super::{examples, list, object, pretty, schema, text};
use crate::http::{Rule, routes, web::text::Sentence};

const JSON: &str = "application/json";

pub(super) struct Call<'a> {
    method: String,
    path: &'a str,
    /// Its description in the document.
    said: &'a Value,
    rule: Option<Rule>,
}

/// All calls, in the document's order.
pub(super) fn all(document: &Value) -> Vec<Call<'_>> {
    let routes = routes();
    let of_path = |(path, calls): (&'_ String, &'_ Value)| {
        let calls = object(calls).map(|(method, _)| method.to_uppercase());
        calls.map(|method| (method, path.clone())).collect::<Vec<_>>()
    };
    let named: Vec<_> = object(&document["paths"]).flat_map(of_path).collect();
    let find = |(method, path): (String, String)| {
        let (path, calls) = document["paths"].as_object()?.get_key_value(&path)?;
        let said = calls.get(method.to_lowercase())?;
        // The router marks a parameter that may contain slashes with an asterisk.
        let is_it = |known: &str| known.replace("{*", "{") == *path;
        let route = routes.iter().find(|route| route.0 == *method && is_it(route.1));
        Some(Call { method, path, said, rule: route.map(|route| route.2) })
    };
    named.into_iter().filter_map(find).collect()
}

impl Call<'_> {
    pub(super) fn is_in(&self, group: &Value) -> bool {
        list(&self.said["tags"]).contains(&group["name"])
    }

    pub(super) fn id(&self) -> &str {
        text(&self.said["operationId"])
    }

    pub(super) fn summary(&self) -> &str {
        text(&self.said["summary"])
    }

    pub(super) fn title(&self) -> Markup {
        html! { code { (self.method) " " (self.path) } }
    }

    pub(super) fn show(&self) -> Markup {
        html! {
            article.card.call id=(self.id()) {
                div.head {
                    h3 { a href={ "#" (self.id()) } { (self.title()) } }
                    span.label { (self.who()) }
                }
                p { (Sentence(self.summary())) @if let Some(more) = self.said["description"].as_str() { ". " (Sentence(more)) } }
                (self.parameters())
                (self.body())
                h4 { "With curl" }
                pre.command tabindex="0" { code { (self.curl()) } }
                (self.answers())
            }
        }
    }

    fn who(&self) -> &'static str {
        match self.rule {
            Some(Rule::Anyone) => "no token needed",
            Some(Rule::AnyRole) => "for any token",
            Some(Rule::Client) => "for clients and admins",
            Some(Rule::Worker) => "for workers and admins",
            Some(Rule::Admin) | None => "for admins",
        }
    }

    fn parameters(&self) -> Markup {
        let parameters = list(&self.said["parameters"]);
        html! {
            @if !parameters.is_empty() {
                h4 { "Parameters" }
                dl.facts {
                    @for one in parameters {
                        dt { code { (text(&one["name"])) } }
                        dd {
                            (schema::kind(&one["schema"]))
                            span.muted {
                                ", in the " (text(&one["in"]))
                                @if one["required"] == true { ", required" }
                            }
                            @if let Some(what) = one["description"].as_str() { div { (Sentence(what)) } }
                        }
                    }
                }
            }
        }
    }

    fn body(&self) -> Markup {
        html! {
            @for (kind, body) in object(&self.said["requestBody"]["content"]) {
                h4 { "Request body" }
                p { (schema::kind(&body["schema"])) span.muted { ", as " (kind) } }
                @for example in examples(body) {
                    p.muted { (Sentence(text(&example["summary"]))) ":" }
                    pre.command tabindex="0" { code { (pretty(&example["value"])) } }
                }
            }
        }
    }

    fn answers(&self) -> Markup {
        html! {
            h4 { "Responses" }
            dl.facts {
                @for (status, answer) in object(&self.said["responses"]) {
                    dt { code { (status) } }
                    dd {
                        (Sentence(text(&answer["description"])))
                        @for (kind, body) in object(&answer["content"]) {
                            @if kind == JSON { ": " (schema::kind(&body["schema"])) }
                            @else if kind != "application/problem+json" { span.muted { ", " (kind) } }
                        }
                    }
                }
            }
        }
    }

    /// A curl command with the first example of the body and all required parameters.
    fn curl(&self) -> String {
        let mut path = self.path.to_owned();
        let mut query = Vec::new();
        let mut headers = Vec::new();
        for one in list(&self.said["parameters"]) {
            let name = text(&one["name"]);
            let value = one["example"]
                .as_str()
                .map_or_else(|| one["example"].to_string(), ToOwned::to_owned);
            match text(&one["in"]) {
                "path" => path = path.replace(&format!("{{{name}}}"), &value),
                "query" if one["required"] == true => query.push(format!("{name}={value}")),
                "header" if one["required"] == true => {
                    headers.push(format!(" -H {}", quoted(&format!("{name}: {value}"))));
                }
                _ => {}
            }
        }
        let joint = if query.is_empty() { "" } else { "?" };
        let address = format!("localhost:{DEFAULT_PORT}{path}{joint}{}", query.join("&"));
        let address = if query.is_empty() { address } else { quoted(&address) };
        let headers = headers.concat();
        let body = object(&self.said["requestBody"]["content"]).next();
        let data = body.map(|(kind, body)| match examples(body).first() {
            Some(example) => {
                format!(" -H 'content-type: {kind}' -d {}", quoted(&example["value"].to_string()))
            }
            None => format!(" -H 'content-type: {kind}' --data-binary @FILE"),
        });
        let data = data.unwrap_or_default();
        // Omits the method that curl uses by default.
        let method = match (self.method.as_str(), data.is_empty()) {
            ("GET", true) | ("POST", false) => String::new(),
            (method, _) => format!(" -X {method}"),
        };
        format!("curl{method} {address}{headers}{data}")
    }
}

/// Quoted for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
