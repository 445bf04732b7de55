//! The phases of the newest attempt: one bar per phase, on a common time axis. Drawn as SVG, since
//! the pages' policy forbids inline styles.

use maud::{Markup, html};
use orchestra_contracts::Attempt;

use super::Sheet;
use crate::http::web::text::{between, millis, since};

/// Width of the chart in its own units.
const WIDTH: u64 = 1000;

/// Name and duration in milliseconds.
type Phase = (&'static str, u64);

pub(super) fn section(sheet: &Sheet) -> Markup {
    let Some(newest) = sheet.newest() else {
        return html! { div #phases data-live {} };
    };
    let phases = phases(newest);
    let whole: u64 = phases.iter().map(|(_, millis)| millis).sum::<u64>().max(1);
    let begins = phases.iter().scan(0, |end, (_, millis)| {
        let begin = *end;
        *end += millis;
        Some(begin)
    });
    html! {
        section #phases data-live {
            h2 { "Where the time went" }
            ul.phases {
                @for ((name, length), begin) in phases.iter().zip(begins) {
                    li {
                        span.name { (name) }
                        (bar(name, begin, *length, whole))
                        span.time { (millis(*length)) }
                    }
                }
                @if newest.finished_at.is_none() {
                    li {
                        span.name { (if newest.started_at.is_some() { "run" } else { "prepare" }) }
                        span.going { "in progress" }
                        span.time { (since(newest.started_at.unwrap_or(newest.claimed_at))) }
                    }
                }
            }
        }
    }
}

fn bar(name: &str, begin: u64, length: u64, whole: u64) -> Markup {
    let scaled = |millis: u64| millis.saturating_mul(WIDTH) / whole;
    // Even the shortest phase stays visible.
    let (x, width) = (scaled(begin).min(WIDTH - 4), scaled(length).max(4));
    html! {
        svg.bar viewBox={ "0 0 " (WIDTH) " 10" } preserveAspectRatio="none" aria-hidden="true" {
            rect class={ "phase " (name) } x=(x) y="0" width=(width) height="10" {}
        }
    }
}

/// The known phases. A worker that took an attempt over did not measure its beginning.
fn phases(attempt: &Attempt) -> Vec<Phase> {
    let mut all = Vec::new();
    all.extend(attempt.queued_ms.map(|millis| ("queued", millis)));
    let usage = attempt.usage.unwrap_or_default();
    if usage.image_ms.is_some() || usage.start_ms.is_some() {
        all.extend(usage.image_ms.map(|millis| ("image", millis)));
        all.extend(usage.start_ms.map(|millis| ("start", millis)));
    } else if let Some(begun) = attempt.started_at {
        all.push(("prepare", between(attempt.claimed_at, begun)));
    }
    if let (Some(begun), Some(ended)) = (attempt.started_at, attempt.finished_at) {
        let run = attempt.usage.map_or_else(|| between(begun, ended), |usage| usage.wall_ms);
        all.push(("run", run));
    }
    all.extend(usage.drain_ms.map(|millis| ("drain", millis)));
    all
}
