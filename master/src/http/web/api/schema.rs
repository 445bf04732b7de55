//! JSON schemas, in words.

use maud::{Markup, html};
use serde_json::Value;

use super::{list, object, pretty, text};
use crate::http::web::text::Sentence;

/// A named schema with all its fields.
pub(super) fn named(name: &str, schema: &Value) -> Markup {
    html! {
        article.card.call id={ "schema-" (name) } {
            h3 { a href={ "#schema-" (name) } { code { (name) } } }
            @if let Some(what) = schema["description"].as_str() { p { (Sentence(what)) } }
            @if schema["properties"].is_null() { p { (kind(schema)) } }
            @else { (fields(schema)) }
            @for example in list(&schema["examples"]) {
                details {
                    summary { "An example with every field" }
                    pre tabindex="0" { code { (pretty(example)) } }
                }
            }
        }
    }
}

fn fields(schema: &Value) -> Markup {
    let is_needed = |name: &str| list(&schema["required"]).iter().any(|it| it == name);
    let mut all: Vec<_> = object(&schema["properties"]).collect();
    all.sort_by_key(|(name, _)| !is_needed(name));
    html! {
        dl.facts {
            @for (name, field) in all {
                dt { code { (name) } }
                dd {
                    (kind(field))
                    @if is_needed(name) { span.muted { ", required" } }
                    @if let Some(what) = field["description"].as_str() { div { (Sentence(what)) } }
                }
            }
        }
    }
}

/// A schema in one line, with a link if it has a name.
pub(super) fn kind(schema: &Value) -> Markup {
    if let Some(name) = schema["$ref"].as_str().and_then(|it| it.rsplit('/').next()) {
        return html! { a href={ "#schema-" (name) } { code { (name) } } };
    }
    for word in ["anyOf", "allOf", "enum"] {
        if let Some(all) = schema[word].as_array() {
            return html! {
                @for (index, one) in all.iter().enumerate() {
                    @if index > 0 { " or " }
                    @if word == "enum" { code { (one) } } @else { (kind(one)) }
                }
            };
        }
    }
    match &schema["type"] {
        Value::String(word) => of_type(word, schema),
        Value::Array(all) => html! {
            @for (index, word) in all.iter().enumerate() {
                @if index > 0 { " or " }
                (of_type(text(word), schema))
            }
        },
        _ => html! { "an object" },
    }
}

fn of_type(word: &str, schema: &Value) -> Markup {
    let bounds = |least: &str, most: &str| match (&schema[least], &schema[most]) {
        (Value::Null, Value::Null) => String::new(),
        (least, Value::Null) => format!(", at least {least}"),
        (Value::Null, most) => format!(", at most {most}"),
        (least, most) => format!(", {least} to {most}"),
    };
    match word {
        "string" => html! {
            @match schema["format"].as_str() {
                Some("date-time") => "a time",
                Some("binary") => "bytes",
                _ => "text",
            }
            @if let Some(pattern) = schema["pattern"].as_str() { " like " code { (pattern) } }
            @else if let Some(most) = schema["maxLength"].as_u64() { ", at most " (most) " characters" }
        },
        "integer" => html! { "a whole number" (bounds("minimum", "maximum")) },
        "number" => html! { "a number" (bounds("minimum", "maximum")) },
        "boolean" => html! { code { "true" } " or " code { "false" } },
        "null" => html! { code { "null" } },
        "array" => html! { "a list of " (kind(&schema["items"])) (bounds("minItems", "maxItems")) },
        _ if schema["additionalProperties"].is_object() => {
            html! { "an object: each value is " (kind(&schema["additionalProperties"])) }
        }
        _ if schema["properties"].is_object() => html! {
            "an object: "
            @for (index, (name, field)) in object(&schema["properties"]).enumerate() {
                @if index > 0 { "; " }
                code { (name) } " " (kind(field))
            }
        },
        _ => html! { "an object" },
    }
}
