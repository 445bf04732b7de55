//! The job's spec.

use maud::{Markup, html};
use orchestra_contracts::{Job, JobSpec, Network, Workspace, paths};

use crate::http::web::{
    table,
    text::{Block, Line, bytes},
};

pub(super) fn section(job: &Job) -> Markup {
    let spec = &job.spec;
    html! {
        section #spec {
            h2 { "Specification" }
            dl.facts {
                dt { "Queue" }
                dd { a href=(table::jobs_with("queue", &spec.queue)) { (Line(&spec.queue)) } }
                dt { "Image" }
                dd { @match &spec.image { Some(image) => (Line(image)), None => "the worker's default" } }
                @if let Some(timeout) = spec.timeout { dt { "Timeout" } dd { (timeout) } }
                dt { "Retries" }
                dd { @if spec.max_retries == 0 { "none" } @else { "up to " (spec.max_retries) } }
                @if spec.priority != 0 { dt { "Priority" } dd { (spec.priority) } }
                (limits(spec))
                dt { "Network" } dd { @match spec.network { Network::None => "none", Network::Bridge => "bridge" } }
                dt { "Folder" }
                dd { @match spec.workspace { Workspace::Shared => "shared", Workspace::Private => "private" } }
                @for (condition, upstream) in spec.waits_for() {
                    @if let Some(id) = upstream.id() {
                        dt { (condition.field()) } dd { a href=(paths::job_page(id)) { "job " (id) } }
                    }
                }
                @if !spec.labels.is_empty() {
                    dt { "Labels" }
                    dd { @for (key, value) in &spec.labels { (table::label(key, value)) " " } }
                }
                @for (key, value) in &spec.requires {
                    dt { "Requires" } dd { (Line(&format!("{key}={value}"))) }
                }
            }
            @if !spec.env.is_empty() || !spec.secrets.is_empty() { (variables(spec)) }
            @if let Some(text) = &spec.stdin {
                details { summary { "Standard input" } pre tabindex="0" { (Block(text)) } }
            }
        }
    }
}

fn limits(spec: &JobSpec) -> Markup {
    let wanted = &spec.resources;
    html! {
        @if let Some(cpus) = wanted.cpus { dt { "Cores" } dd { (cpus) } }
        @if let Some(memory) = wanted.memory { dt { "Memory" } dd { (bytes(memory)) } }
        @if let Some(pids) = wanted.pids { dt { "Processes" } dd { (pids) } }
        @if let Some(tmp) = wanted.tmp { dt { "/tmp" } dd { (bytes(tmp)) } }
    }
}

/// Of secrets only the names are known here.
fn variables(spec: &JobSpec) -> Markup {
    html! {
        details {
            summary { "Variables (" (spec.env.len() + spec.secrets.len()) ")" }
            dl.facts.code {
                @for (name, value) in &spec.env { dt { (Line(name)) } dd { (Block(value)) } }
                @for name in spec.secrets.keys() { dt { (Line(name)) } dd.muted { "secret" } }
            }
        }
    }
}
