//! `GET /jobs`: the list of jobs in pages, with the same filters as in the API.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use maud::{Markup, html};
use orchestra_contracts::{JobId, JobStatus, paths};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

mod bulk;

pub(super) use bulk::handler as bulk;

use super::{layout::Page, table, visitor::Visitor};
use crate::{
    http::{
        error::ApiError,
        extract::{FromQuery, Pairs, Query},
        jobs::List,
    },
    service::Service,
    store::{JobFilter, ListOrder},
};

/// Number of jobs on a page.
const LIMIT: u32 = 50;

/// The list's filter, and the form fields that it came from.
pub(super) struct Shown {
    filter: JobFilter,
    /// Names and values, as the form sent them.
    said: Vec<(&'static str, String)>,
}

impl FromQuery for Shown {
    const NAMES: &'static [&'static str] = List::NAMES;

    fn from_pairs(pairs: &Pairs) -> Result<Self, ApiError> {
        let pairs = pairs.filled();
        let oldest = pairs.one("order")? == Some("oldest");
        let mut filter = List::from_pairs(&pairs)?.filter();
        if !oldest {
            filter.order = ListOrder::Newest;
        }
        if filter.limit == 0 {
            filter.limit = LIMIT;
        }
        let kept = Self::NAMES.iter().filter(|name| **name != "cursor");
        let said = kept.flat_map(|name| pairs.all(name).map(|value| (*name, value.to_owned())));
        let said = said.collect();
        Ok(Self { filter, said })
    }
}

impl Shown {
    fn value(&self, name: &str) -> &str {
        self.said.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    /// The address of the next page, after this job.
    fn after(&self, last: JobId) -> String {
        let joint = if self.said.is_empty() { '?' } else { '&' };
        format!("{}{joint}cursor={last}", self.address())
    }

    /// The address of this page of the list.
    fn here(&self) -> String {
        self.filter.after.map_or_else(|| self.address(), |last| self.after(last))
    }

    /// The address of the list's first page.
    fn address(&self) -> String {
        let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        let pairs = self.said.iter().map(|(name, value)| format!("{name}={}", encode(value)));
        let query = pairs.collect::<Vec<_>>().join("&");
        let joint = if query.is_empty() { "" } else { "?" };
        format!("{}{joint}{query}", paths::JOBS_PAGE)
    }
}

pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    visitor: Visitor,
    Query(shown): Query<Shown>,
) -> Result<Response, ApiError> {
    let page = service.glance(&shown.filter).await?;
    let is_first = shown.filter.after.is_none();
    let body = html! {
        div.head { h1 { "Jobs" } }
        (form(&shown))
        form.list method="post" action=(paths::JOBS_PAGE) {
        @if !page.jobs.is_empty() { (bulk::actions(&shown.here())) }
        section #list data-live {
            @if page.jobs.is_empty() { (nothing(&shown, is_first)) }
            @else { (table::to_choose_from(&page.jobs)) }
            @if !is_first || page.next.is_some() {
                nav.pages aria-label="Pages of the list" {
                    @if !is_first { a.button href=(shown.address()) { "First page" } }
                    @if let Some(last) = page.next {
                        a.button rel="next" href=(shown.after(last)) { "Next page" }
                    }
                }
            }
        }
        }
    };
    Ok(Page::new(visitor, paths::JOBS_PAGE, "Jobs").with_script("choose.js").show(&body))
}

fn nothing(shown: &Shown, is_first: bool) -> Markup {
    html! {
        div.empty {
            @if !is_first { p { "There are no more jobs." } }
            @else if shown.said.is_empty() {
                p { "No jobs yet." }
                p { a.button href=(paths::NEW_PAGE) { "Submit the first job" } }
            } @else {
                p { "No jobs match the filter." }
                p { a.button href=(paths::JOBS_PAGE) { "Show all" } }
            }
        }
    }
}

fn form(shown: &Shown) -> Markup {
    let status = shown.value("status");
    html! {
        form.filter method="get" action=(paths::JOBS_PAGE) role="search" {
            (field("q", "Text", shown.value("q"), "in the command or the name"))
            div.field {
                label for="status" { "Status" }
                select #status name="status" {
                    option value="" { "any" }
                    @for known in JobStatus::ALL.map(JobStatus::as_str) {
                        option value=(known) selected[status.eq_ignore_ascii_case(known)] { (known) }
                    }
                    @if status.contains(',') { option value=(status) selected { (status) } }
                }
            }
            (field("queue", "Queue", shown.value("queue"), "any"))
            (field("label", "Label", shown.value("label"), "key=value"))
            (field("worker", "Worker", shown.value("worker"), "any"))
            div.field {
                label for="order" { "Order" }
                select #order name="order" {
                    option value="" { "newest first" }
                    option value="oldest" selected[shown.value("order") == "oldest"] { "oldest first" }
                }
            }
            div.field { button { "Filter" } }
        }
    }
}

fn field(name: &str, title: &str, value: &str, placeholder: &str) -> Markup {
    html! {
        div.field {
            label for=(name) { (title) }
            input id=(name) name=(name) value=(value) placeholder=(placeholder) autocomplete="off"
                pattern=[(name == "label").then_some(".+=.*")];
        }
    }
}
