//! All attempts of the job, if there is more than one.

use maud::{Markup, html};
use orchestra_contracts::{Attempt, Size};

use super::Sheet;
use crate::http::web::text::{Line, age, bytes, millis, since};

pub(super) fn section(sheet: &Sheet) -> Markup {
    html! {
        section #attempts data-live {
            @if sheet.attempts.len() > 1 {
                h2 { "Attempts" }
                table.rows {
                    thead { tr {
                        th scope="col" { "No." }
                        th scope="col" { "Result" }
                        th scope="col" { "Worker" }
                        th scope="col" { "Claimed" }
                        th scope="col" { "Ran" }
                        th scope="col" { "Log" }
                    } }
                    tbody { @for attempt in sheet.attempts.iter().rev() { (row(attempt)) } }
                }
            }
        }
    }
}

fn row(attempt: &Attempt) -> Markup {
    html! {
        tr {
            td { (attempt.number) }
            td.main {
                @match &attempt.reason {
                    Some(reason) => (Line(reason)),
                    None => "in progress",
                }
            }
            td.what data-name="Worker" { (Line(attempt.worker.as_str())) }
            td.time { (age(attempt.claimed_at)) }
            td.time.what data-name="Ran" {
                @match (attempt.usage, attempt.started_at) {
                    (Some(usage), _) => (millis(usage.wall_ms)),
                    (None, Some(begun)) if attempt.finished_at.is_none() => (since(begun)),
                    _ => {}
                }
            }
            td.time.what data-name="Log" { (bytes(Size(attempt.log_bytes))) }
        }
    }
}
