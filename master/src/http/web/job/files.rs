//! The artifacts of the newest attempt, and the files that its command changed.

use maud::{Markup, html};
use orchestra_contracts::{
    JobId, Size,
    files::{Artifacts, Changes},
    paths,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Sheet;
use crate::http::web::text::{Line, bytes};

/// At most this many paths of each kind are shown. The command line shows the rest.
const SHOWN: usize = 50;
/// The characters to escape in a path.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/');

pub(super) fn section(sheet: &Sheet) -> Markup {
    html! {
        section #files data-live {
            @if let Some(kept) = sheet.artifacts.as_ref().filter(|it| !it.artifacts.is_empty()) {
                h2 { "Files" }
                (kept_ones(sheet.job.id, kept))
            }
            @if let Some(told) = sheet.changes.as_ref().filter(|it| **it != Changes::default()) {
                h2 { "Changed files" }
                dl.facts {
                    (paths_of("Created", &told.created))
                    (paths_of("Modified", &told.modified))
                    (paths_of("Deleted", &told.deleted))
                }
                @if told.more > 0 { p.muted { "And " (told.more) " more." } }
                @if told.incomplete { p.muted { "There were too many files to scan them all." } }
            }
        }
    }
}

fn kept_ones(job: JobId, kept: &Artifacts) -> Markup {
    html! {
        table.rows {
            thead { tr {
                th scope="col" { "File" }
                th scope="col" { "Size" }
                th scope="col" { "SHA-256" }
            } }
            tbody { @for file in &kept.artifacts {
                tr {
                    td.main { a href=(address(job, kept, &file.path)) download { (Line(&file.path)) } }
                    td.number { (bytes(Size(file.bytes))) }
                    td.what data-name="SHA-256" {
                        code title=(file.sha256) { (file.sha256.get(..12).unwrap_or_default()) "…" }
                    }
                }
            } }
        }
        p { a href={ (paths::artifacts(job)) "?format=tar&attempt=" (kept.attempt) } download { "Download all as a tar archive" } }
    }
}

/// Names the attempt that the page shows, since another may have ended by the time of the click.
fn address(job: JobId, kept: &Artifacts, path: &str) -> String {
    let path = utf8_percent_encode(path, ENCODED).to_string();
    format!("{}?attempt={}", paths::artifact(job, &path), kept.attempt)
}

fn paths_of(what: &str, all: &[String]) -> Markup {
    html! {
        @if !all.is_empty() {
            dt { (what) }
            dd {
                @for path in all.iter().take(SHOWN) { code { (Line(path)) } br; }
                @if all.len() > SHOWN { "and " (all.len() - SHOWN) " more" }
            }
        }
    }
}
