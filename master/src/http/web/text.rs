//! Rendering of untrusted text, such as names, commands and reasons. The templates escape HTML;
//! this module makes characters visible that would change how people read the rest. It also formats
//! times, sizes and statuses, the same on every page.

use jiff::Timestamp;
use maud::{Markup, Render, html};
use orchestra_contracts::{Job, JobStatus, Size};

/// Maximum length, in characters, of a command or name in a list.
const SHORT: usize = 120;

/// Text that keeps its line breaks.
pub(super) struct Block<'a>(pub(super) &'a str);

impl Render for Block<'_> {
    fn render(&self) -> Markup {
        pieces(self.0, |c| matches!(c, '\n' | '\t'))
    }
}

/// Text on one line.
pub(super) struct Line<'a>(pub(super) &'a str);

impl Render for Line<'_> {
    fn render(&self) -> Markup {
        pieces(self.0, |_| false)
    }
}

/// A sentence of our own, which may contain quotes: timestamps in it are rendered as times, and
/// text between backticks as code.
pub(super) struct Sentence<'a>(pub(super) &'a str);

impl Render for Sentence<'_> {
    fn render(&self) -> Markup {
        html! {
            @for (index, part) in self.0.split('`').enumerate() {
                @if index % 2 == 1 { code { (Line(part)) } }
                @else { @for word in part.split_inclusive(' ') { (timed(word)) } }
            }
        }
    }
}

fn timed(word: &str) -> Markup {
    let text = word.trim_end_matches([' ', ',', ')', ':']);
    match text.parse::<Timestamp>().ok().filter(|_| text.ends_with('Z')) {
        Some(at) => html! { (moment(at)) (word[text.len()..]) },
        None => Line(word).render(),
    }
}

/// Renders plain text as it is, and hidden characters as visible marks.
fn pieces(text: &str, keep: fn(char) -> bool) -> Markup {
    let hidden = |c: char| is_hidden(c) && !keep(c);
    html! {
        @for piece in text.split_inclusive(hidden) {
            @match piece.char_indices().next_back().filter(|(_, last)| hidden(*last)) {
                Some((at, last)) => { (piece[..at]) span.mark { (written_out(last)) } }
                None => { (piece) }
            }
        }
    }
}

/// Like [`Line`], where no markup is possible, as in a title.
pub(super) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) { shown.push_str(&written_out(c)) } else { shown.push(c) }
    }
    shown
}

fn written_out(c: char) -> String {
    match c {
        '\n' => "↵".to_owned(),
        '\t' => "⇥".to_owned(),
        c => format!("U+{:04X}", u32::from(c)),
    }
}

/// Control characters, separators, and characters that change the direction of writing (Unicode
/// technical report 36, section 2.5).
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A job's title in a list: its name, else the beginning of its command.
pub(super) fn called(job: &Job) -> String {
    let text = job.spec.name.as_deref().unwrap_or(&job.spec.command);
    shortened(text, SHORT)
}

pub(super) fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A time in UTC. A script converts it to the reader's time zone.
pub(super) fn moment(at: Timestamp) -> Markup {
    html! { time datetime=(at) { (written(at)) } }
}

/// The same. A script converts it to an age.
pub(super) fn age(at: Timestamp) -> Markup {
    html! { time datetime=(at) data-age { (written(at)) } }
}

fn written(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// The time since `at`. A script keeps it counting.
pub(super) fn since(at: Timestamp) -> Markup {
    html! { time datetime=(at) data-since { "since " (written(at)) } }
}

/// `250 ms`, `1.5 s`, `2 m 5 s`, `3 h 4 m`.
pub(super) fn millis(millis: u64) -> String {
    match millis {
        ..1000 => format!("{millis} ms"),
        1000..60_000 => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
        60_000..3_600_000 => format!("{} m {} s", millis / 60_000, millis / 1000 % 60),
        _ => format!("{} h {} m", millis / 3_600_000, millis / 60_000 % 60),
    }
}

/// How long the newest attempt ran, or has been running.
pub(super) fn took(job: &Job) -> Markup {
    match (job.started_at, job.finished_at) {
        (Some(begun), Some(ended)) => html! { (millis(between(begun, ended))) },
        (Some(begun), None) if job.status == JobStatus::Running => since(begun),
        _ => html! {},
    }
}

pub(super) fn between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_millis()).unwrap_or_default()
}

/// `512 MiB`, `1.5 GiB`.
pub(super) fn bytes(Size(bytes): Size) -> String {
    const UNITS: [(&str, u64); 4] =
        [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    for (unit, factor) in UNITS {
        if bytes >= factor {
            let tenths = bytes / (factor / 10).max(1);
            return match tenths % 10 {
                _ if bytes.is_multiple_of(factor) => format!("{} {unit}", bytes / factor),
                0 => format!("{} {unit}", tenths / 10),
                tenth => format!("{}.{tenth} {unit}", tenths / 10),
            };
        }
    }
    format!("{bytes} B")
}

/// A dot and a word: the status is never shown by colour alone.
pub(super) fn status(job: &Job) -> Markup {
    let word = match job.status {
        JobStatus::Running | JobStatus::Assigned if job.cancelling => "Cancelling",
        status => status.as_str(),
    };
    status_word(job.status, word)
}

pub(super) fn status_word(status: JobStatus, word: &str) -> Markup {
    html! { span class={ "status " (status.as_str().to_lowercase()) } { (word) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_turns_the_direction_of_writing_is_shown_and_turns_nothing() {
        let line = html! { (Line("a\u{202e}<b>\n")) }.into_string();
        assert_eq!(
            line,
            "a<span class=\"mark\">U+202E</span>&lt;b&gt;<span class=\"mark\">↵</span>"
        );
        assert_eq!(html! { (Block("a\n\tb")) }.into_string(), "a\n\tb");
        assert_eq!(plain("a\u{2066}b"), "aU+2066b");
    }

    #[test]
    fn lengths_and_sizes_are_as_fine_as_matters() {
        for (number, text) in
            [(0, "0 ms"), (1549, "1.5 s"), (125_000, "2 m 5 s"), (11_040_000, "3 h 4 m")]
        {
            assert_eq!(millis(number), text);
        }
        for (number, text) in [(7, "7 B"), (512 << 20, "512 MiB"), (3 << 29, "1.5 GiB")] {
            assert_eq!(bytes(Size(number)), text);
        }
    }

    #[test]
    fn a_sentence_has_times_and_code() {
        let text = Sentence("paused since 2026-01-02T03:04:05Z, `orchestra <x>` helps").render();
        assert_eq!(
            text.into_string(),
            "paused since <time datetime=\"2026-01-02T03:04:05Z\">2026-01-02 03:04:05 UTC</time>, \
             <code>orchestra &lt;x&gt;</code> helps"
        );
        assert_eq!(Sentence("a b 2026 `").render().into_string(), "a b 2026 <code></code>");
    }

    #[test]
    fn what_is_long_is_cut_between_characters() {
        assert_eq!(shortened("äöü", 3), "äöü");
        assert_eq!(shortened("äöüß", 3), "äöü…");
    }
}
