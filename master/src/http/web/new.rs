//! `GET /new`: the form for a new job. A script turns it into a spec, and shows the equivalent
//! command lines. Spec fields without a form field are in a text area as JSON, so that a job that
//! is run again keeps everything.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{extract::State, response::Response};
use maud::{Markup, html};
use orchestra_contracts::{JobId, JobSpec, Network, Workspace, paths, worker::Worker};
use serde_json::{Value, json};

use super::{layout::Page, visitor::Visitor};
use crate::{
    http::{
        error::ApiError,
        extract::{FromQuery, Pairs, Query},
    },
    service::Service,
};

/// Spec fields that have a form field of their own, or that a new job does not inherit.
const HAVE_FIELDS: [&str; 14] = [
    "command",
    "name",
    "image",
    "queue",
    "timeout",
    "maxRetries",
    "priority",
    "env",
    "labels",
    "resources",
    "network",
    "workspace",
    "stdin",
    "notBefore",
];

/// The job to run again.
pub(super) struct From(Option<JobId>);

impl FromQuery for From {
    const NAMES: &'static [&'static str] = &["from"];

    fn from_pairs(pairs: &Pairs) -> Result<Self, ApiError> {
        pairs.parsed("from", "the id of a job").map(Self)
    }
}

pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    visitor: Visitor,
    Query(From(from)): Query<From>,
) -> Result<Response, ApiError> {
    let spec = match from {
        Some(id) => service.job(id).await?.spec,
        None => JobSpec { queue: String::new(), ..JobSpec::new("") },
    };
    let workers = service.workers().await?;
    let body = html! {
        h1 { @if let Some(id) = from { "Run job " (id) " again" } @else { "New job" } }
        @if !spec.secrets.is_empty() {
            p.notice { "Secrets are not copied: enter them again under “Other fields, as JSON”." }
        }
        form #new.two data-path=(paths::JOBS) autocomplete="off" {
            div.stack { (first(&spec)) (choices(&spec, &workers)) (more(&spec)) }
            div.stack.twin {
                p #wrong.wrong role="alert" hidden {}
                button.primary { "Submit" }
                h2 { "The same from a terminal" }
                @for (id, name) in [("twin-cli", "orchestra"), ("twin-curl", "curl")] {
                    h3 { (name) }
                    div.copy { pre id=(id) tabindex="0" {} button type="button" data-copy=(id) { "Copy" } }
                }
            }
        }
    };
    Ok(Page::new(visitor, paths::NEW_PAGE, "New job").with_script("new.js").show(&body))
}

fn first(spec: &JobSpec) -> Markup {
    html! {
        div.field {
            label for="command" { "Command" }
            // HTML drops a textarea's first line feed, so one is added.
            textarea #command rows="10" spellcheck="false" required autofocus
                placeholder="A bash script. It runs in worker-files." { "\n" (spec.command) }
        }
        (field("name", "Name", spec.name.as_deref().unwrap_or_default(), "to find the job by", None))
    }
}

fn choices(spec: &JobSpec, workers: &[Worker]) -> Markup {
    let online = || workers.iter().filter(|worker| worker.online).map(|it| &it.registration);
    let images: BTreeSet<_> =
        online().filter_map(|it| it.offer.as_ref()).flat_map(|it| &it.images).collect();
    let queues: BTreeSet<_> = online().flat_map(|it| &it.queues).collect();
    let wanted = &spec.resources;
    html! {
        div.grid {
            (field("image", "Image", spec.image.as_deref().unwrap_or_default(), "default", Some("images")))
            (field("queue", "Queue", &spec.queue, "default", Some("queues")))
            (field("timeout", "Timeout", &said(spec.timeout.as_ref()), "1h", None))
            (field("maxRetries", "Retries", &over_zero(spec.max_retries), "0", None))
            (field("cpus", "Cores", &said(wanted.cpus.as_ref()), "default", None))
            (field("memory", "Memory", &said(wanted.memory.as_ref()), "default", None))
            (field("pids", "Processes", &said(wanted.pids.as_ref()), "default", None))
            (field("tmp", "/tmp", &said(wanted.tmp.as_ref()), "default", None))
        }
        @for (id, values) in [("images", images), ("queues", queues)] {
            datalist id=(id) { @for value in values { option value=(value) {} } }
        }
    }
}

fn more(spec: &JobSpec) -> Markup {
    html! {
        details open[!spec.env.is_empty() || !spec.labels.is_empty()] {
            summary { "Variables and labels" }
            (area("env", "Variables, one NAME=value per line", &pairs(&spec.env)))
            (area("labels", "Labels, one key=value per line", &pairs(&spec.labels)))
        }
        details {
            summary { "Network, folder, input, priority" }
            div.grid {
                (choice("network", "Network", &[("", "none"), ("bridge", "bridge")], spec.network == Network::Bridge))
                (choice("workspace", "Folder", &[("", "shared"), ("private", "private")], spec.workspace == Workspace::Private))
                (field("priority", "Priority", &if spec.priority == 0 { String::new() } else { spec.priority.to_string() }, "0", None))
            }
            (area("stdin", "Standard input", spec.stdin.as_deref().unwrap_or_default()))
        }
        @let rest = rest(spec);
        details open[!rest.is_empty()] {
            summary { "Other fields, as JSON" }
            (area("rest", "Fields from docs/jobs.md, such as {\"lease\": \"5m\"}", &rest))
        }
    }
}

/// The spec fields that the form has no field for, and variables with several lines. Without
/// secrets, whose values are unknown here.
fn rest(spec: &JobSpec) -> String {
    let Ok(Value::Object(mut fields)) = serde_json::to_value(spec) else { return String::new() };
    fields.retain(|name, _| !HAVE_FIELDS.contains(&name.as_str()) && name != "secrets");
    let long: BTreeMap<_, _> = spec.env.iter().filter(|(_, value)| !fits_a_line(value)).collect();
    if !long.is_empty() {
        fields.insert("env".to_owned(), json!(long));
    }
    if fields.is_empty() { String::new() } else { format!("{:#}", Value::Object(fields)) }
}

fn pairs(pairs: &BTreeMap<String, String>) -> String {
    let lines = pairs.iter().filter(|(_, value)| fits_a_line(value));
    lines.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("\n")
}

/// Whether a form field keeps the value: forms normalize line breaks.
fn fits_a_line(value: &str) -> bool {
    !value.contains(['\n', '\r'])
}

fn said<T: ToString>(value: Option<&T>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

fn over_zero(number: u32) -> String {
    if number == 0 { String::new() } else { number.to_string() }
}

fn field(id: &str, title: &str, value: &str, placeholder: &str, list: Option<&str>) -> Markup {
    html! {
        div.field {
            label for=(id) { (title) }
            input id=(id) value=(value) placeholder=(placeholder) list=[list] spellcheck="false";
        }
    }
}

fn area(id: &str, title: &str, value: &str) -> Markup {
    html! {
        div.field {
            label for=(id) { (title) }
            textarea id=(id) rows="3" spellcheck="false" { "\n" (value) }
        }
    }
}

fn choice(id: &str, title: &str, options: &[(&str, &str)], second: bool) -> Markup {
    html! {
        div.field {
            label for=(id) { (title) }
            select id=(id) {
                @for (index, (value, name)) in options.iter().enumerate() {
                    option value=(value) selected[second && index == 1] { (name) }
                }
            }
        }
    }
}
