//! The log. A script loads it as server-sent events, starting at the tail. Without JavaScript the
//! page shows the tails of both streams.

use maud::{Markup, html};
use orchestra_contracts::paths;

use super::Sheet;
use crate::http::web::text::Block;

pub(super) fn section(sheet: &Sheet) -> Markup {
    let job = &sheet.job;
    let path = paths::log(job.id);
    html! {
        section #log.log data-path=(path) aria-label="Log" {
            div.head {
                h2 { "Log" }
                p #log-state.muted role="status" {}
                a.button download={ "job-" (job.id) ".log" } href={ (path) "?stream=all" } { "Download" }
            }
            div.tools hidden {
                div.field {
                    label for="log-search" { "Search" }
                    span.search {
                        input #log-search type="search" autocomplete="off" spellcheck="false"
                            placeholder="in the lines shown";
                        button #log-previous title="Previous match (Shift+Enter)" aria-label="Previous match" { "↑" }
                        button #log-next title="Next match (Enter)" aria-label="Next match" { "↓" }
                        output #log-found for="log-search" {}
                    }
                }
                div.field {
                    label for="log-stream" { "Stream" }
                    select #log-stream {
                        option value="all" { "all" }
                        option value="stdout" { "stdout" }
                        option value="stderr" { "stderr" }
                        option value="system" { "system" }
                    }
                }
                @if sheet.attempts.len() > 1 {
                    div.field {
                        label for="log-attempt" { "Attempt" }
                        select #log-attempt {
                            option value="" { "all" }
                            @for attempt in &sheet.attempts {
                                option value=(attempt.number) { (attempt.number) }
                            }
                        }
                    }
                }
                div.field.toggles {
                    button #log-times type="button" aria-pressed="false" { "Times" }
                    button #log-follow type="button" aria-pressed="true" { "Follow" }
                }
            }
            button #log-earlier.quiet hidden { "Earlier lines" }
            div #log-lines.lines role="log" aria-live="off" tabindex="0" aria-label="Log lines" hidden {}
            noscript {
                @for (name, text) in [("stdout", &job.output), ("stderr", &job.error)] {
                    @if !text.is_empty() {
                        h3 { (name) @if job.output_truncated { " (end)" } }
                        pre.lines { (Block(text)) }
                    }
                }
            }
        }
    }
}
