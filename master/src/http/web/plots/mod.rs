//! Two charts of the last hour: the runs that ended, and how long jobs had waited. They are SVG
//! rendered by the master, since the pages' policy forbids inline styles and scripts. Each has a
//! summary in words and a table of its numbers.

mod ended;
mod waited;

use jiff::Timestamp;
use maud::{Markup, html};

use super::text::{age, moment};
use crate::metrics::{MINUTES, Minute};

/// Width of one minute in the chart's units.
const STEP: usize = 4;
const WIDTH: usize = MINUTES * STEP;
const HEIGHT: f64 = 60.0;

pub(super) fn section(minutes: &[Minute], started_at: Timestamp) -> Markup {
    let begins = minutes.first().map(Minute::begins);
    html! {
        section #plots.plots data-live aria-label="The last hour" {
            (ended::figure(minutes))
            (waited::figure(minutes))
            @if begins.is_some_and(|begins| begins < started_at) {
                p.hint { "Counted since this master started, " (age(started_at)) "." }
            }
        }
    }
}

fn drawing(id: &str, title: &str, told: &str, inside: &Markup) -> Markup {
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img"
            aria-labelledby={ "plot-" (id) } aria-describedby={ "plot-" (id) "-told" } {
            title id={ "plot-" (id) } { (title) }
            desc id={ "plot-" (id) "-told" } { (told) }
            (inside)
        }
    }
}

fn line(y: f64) -> Markup {
    html! { path.grid d={ "M0 " (short(y)) "H" (WIDTH) } {} }
}

fn axis() -> Markup {
    html! { div.axis aria-hidden="true" { span { "1 h ago" } span { "30 min" } span { "now" } } }
}

/// The minutes with any counts, newest first.
fn table(
    minutes: &[Minute],
    has: impl Fn(&Minute) -> bool,
    names: &[&str],
    cells: impl Fn(&Minute) -> Vec<String>,
) -> Markup {
    html! {
        details {
            summary { "As a table" }
            table.rows {
                thead { tr { th scope="col" { "Minute" } @for name in names { th scope="col" { (name) } } } }
                tbody { @for minute in minutes.iter().rev().filter(|minute| has(minute)) {
                    tr {
                        td.time { (moment(minute.begins())) }
                        @for (name, cell) in names.iter().zip(cells(minute)) {
                            td.what data-name=(name) { (cell) }
                        }
                    }
                } }
            }
        }
    }
}

/// Rounded to what is visible.
fn short(number: f64) -> String {
    format!("{number:.1}")
}

#[expect(clippy::cast_precision_loss, reason = "nobody sees the sixteenth digit of a drawing")]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{End, History};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn an_hour_without_anything_says_so_and_draws_nothing() {
        let shown = section(&History::default().minutes(at(7200)), at(0)).into_string();
        assert!(
            shown.contains("No run has ended") && shown.contains("No job was claimed"),
            "{shown}"
        );
        assert!(!shown.contains("<svg") && !shown.contains("Counted since"), "{shown}");
    }

    #[test]
    fn what_is_drawn_is_told_in_words_and_in_a_table() {
        let history = History::default();
        for _ in 0..3 {
            history.ended(at(7200), End::Completed);
        }
        history.ended(at(7200), End::Failed);
        history.ended(at(7200 - 600), End::Again);
        history.handed_out(at(7200), 5);
        history.handed_out(at(7200 - 60), 2000);
        let shown = section(&history.minutes(at(7230)), at(7000)).into_string();
        for word in [
            ">3 completed<",
            ">1 to be retried<",
            "5 in total; 4 in the busiest minute.",
            "<title>this minute: 3 completed, 1 failed</title>",
            "<title>10 minutes ago: 1 to be retried</title>",
            // Three of four, with the fourth on top.
            "<rect class=\"completed\" x=\"236\" y=\"15.0\" width=\"3\" height=\"45.0\">",
            "<rect class=\"failed\" x=\"236\" y=\"0.0\" width=\"3\" height=\"15.0\">",
            "half started within 5 ms",
            "95% within 2.0 s",
            "data-name=\"half within\">5 ms<",
            "Counted since this master started",
            "1970-01-01 02:00:00 UTC",
        ] {
            assert!(shown.contains(word), "{word}: {shown}");
        }
        // Adjacent minutes form one line with a step.
        assert!(shown.contains("class=\"half\" d=\"M232 "), "{shown}");
        assert_eq!(shown.matches('M').count(), shown.matches("M0 ").count() + 4, "{shown}");
    }
}
