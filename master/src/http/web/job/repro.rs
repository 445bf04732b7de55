//! The command line that runs the job by hand.

use maud::{Markup, html};

use super::Sheet;
use crate::http::web::text::{Block, Line};

pub(super) fn section(sheet: &Sheet) -> Markup {
    html! {
        section #repro data-live {
            @if let Some(repro) = &sheet.repro {
                h2 { "Run it by hand" }
                p.muted { "On the host of worker " (Line(repro.worker.as_str()))
                    ", as attempt " (repro.attempt) " ran." }
                div.copy {
                    pre #repro-line tabindex="0" { code { (Block(&repro.command)) } }
                    button data-copy="repro-line" { "Copy" }
                }
                @if !repro.secrets.is_empty() {
                    p.muted { "Required environment variables: " (Line(&repro.secrets.join(", "))) }
                }
                @for note in &repro.notes { p.muted { (Line(note)) } }
            }
        }
    }
}
