//! `GET /schedules`: the schedules and their jobs.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use maud::{Markup, html};
use orchestra_contracts::{NewSchedule, Schedule, paths};

use super::{
    layout::Page,
    table::jobs_with,
    text::{Line, age, moment, shortened},
    visitor::Visitor,
};
use crate::{
    http::{error::ApiError, extract::NoQuery},
    service::Service,
};

/// Maximum length of a command, in characters.
const SHORT: usize = 200;

pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    visitor: Visitor,
    _: NoQuery,
) -> Result<Response, ApiError> {
    let schedules = service.schedules().await?;
    let body = html! {
        h1 { "Schedules" }
        section #schedules data-live {
            @if schedules.is_empty() {
                div.empty {
                    p { "No schedules yet." }
                    p.muted { code { "orchestra schedule create nightly --cron '0 3 * * *' ./backup.sh" }
                        " creates one." }
                }
            }
            div.cards { @for schedule in &schedules { (card(schedule)) } }
        }
    };
    Ok(Page::new(visitor, paths::SCHEDULES_PAGE, "Schedules").show(&body))
}

fn card(schedule: &Schedule) -> Markup {
    let what = &schedule.what;
    let label = format!("{}={}", NewSchedule::LABEL, what.name);
    html! {
        article.card {
            div.head {
                h2 { a href=(jobs_with("label", &label)) { (Line(what.name.as_str())) } }
                @if schedule.paused { span.status.paused { "Paused" } }
                @else { span.status.open { "Active" } }
            }
            pre.command { code { (Line(&shortened(&what.spec.command, SHORT))) } }
            dl.facts {
                dt { "Times" } dd { code { (Line(&what.cron)) } " " span.muted { (Line(&what.time_zone)) } }
                dt { "Next" }
                dd { @for time in &schedule.next_times { div { (moment(*time)) } } }
                @if let Some(time) = schedule.last_time {
                    dt { "Last" }
                    dd {
                        (age(time))
                        @if let Some(job) = schedule.last_job {
                            ", " a href=(paths::job_page(job)) { "job " (job) }
                        }
                    }
                }
                dt { "Overlap" } dd { (what.overlap) }
                @if schedule.skipped > 0 {
                    dt { "Skipped" }
                    dd {
                        (schedule.skipped)
                        @if let Some(reason) = &schedule.skipped_reason { ", most recently: " (Line(reason)) }
                    }
                }
            }
            (changes(schedule))
        }
    }
}

fn changes(schedule: &Schedule) -> Markup {
    let path = paths::schedule(&schedule.what.name);
    let paused = format!("{{\"paused\": {}}}", !schedule.paused);
    html! {
        p.actions {
            button data-patch=(path) data-body=(paused) {
                (if schedule.paused { "Resume" } else { "Pause" })
            }
            button.danger data-delete=(path) data-sure="Remove permanently?" { "Remove" }
        }
    }
}
