//! The resources that the newest attempt used, and its limits.

use maud::{Markup, html};
use orchestra_contracts::{Ran, Size, Usage};

use super::Sheet;
use crate::http::web::text::{bytes, millis};

pub(super) fn section(sheet: &Sheet) -> Markup {
    let newest = sheet.newest();
    let ran = newest.and_then(|attempt| attempt.ran.as_ref());
    html! {
        section #usage data-live {
            @if let Some(usage) = newest.and_then(|attempt| attempt.usage) {
                h2 { "Resource usage" }
                dl.facts {
                    @if usage.peak_memory > 0 { (memory(&usage, ran)) }
                    (processor(&usage, ran))
                    @if let (Some(times @ 1..), Some(held)) = (usage.throttles, usage.throttled_ms) {
                        dt { "Throttled" } dd { (times) " times, " (millis(held)) " in total" }
                    }
                    @if let Some(attempt) = newest { dt { "Log" } dd { (bytes(Size(attempt.log_bytes))) } }
                }
            }
        }
    }
}

fn memory(usage: &Usage, ran: Option<&Ran>) -> Markup {
    let peak = usage.peak_memory;
    html! {
        dt { "Peak memory" }
        dd {
            (bytes(Size(peak)))
            @if let Some(ran) = ran {
                " of " (bytes(ran.memory)) " "
                meter min="0" max=(ran.memory.0) value=(peak.min(ran.memory.0)) high=(ran.memory.0 / 10 * 9) {}
            }
        }
    }
}

fn processor(usage: &Usage, ran: Option<&Ran>) -> Markup {
    // Meaningless for a job of less than a second.
    let share = (usage.wall_ms >= 1000).then(|| usage.cpu_ms * 100 / usage.wall_ms);
    html! {
        dt { "CPU time" }
        dd {
            (millis(usage.cpu_ms))
            @if let Some(share) = share { ", " (share / 100) "." (format!("{:02}", share % 100)) " cores busy" }
            @if let Some(ran) = ran { " of " (ran.cpus) }
        }
    }
}
