//! A chart of the runs that ended in each minute, by result.

use maud::{Markup, html};

use super::{HEIGHT, MINUTES, STEP, axis, drawing, float, line, short, table};
use crate::metrics::{End, Minute};

pub(super) fn figure(minutes: &[Minute]) -> Markup {
    let sum = |end: End| minutes.iter().map(|minute| minute.ended[end as usize]).sum::<u64>();
    let all: u64 = End::ALL.into_iter().map(sum).sum();
    let most = minutes.iter().map(|minute| minute.ended.iter().sum()).max().unwrap_or_default();
    let top = round_up(most);
    html! {
        figure.card.plot {
            figcaption {
                h2 { "Runs that ended" }
                p.legend {
                    @for end in End::ALL { @let (class, word) = word(end);
                        span class={ "status " (class) } { (sum(end)) " " (word) }
                    }
                }
            }
            @if all == 0 {
                p.none { "No run has ended in the last hour." }
            } @else {
                div.chart {
                    div.scale aria-hidden="true" { span { (top) } @if top > 1 { span { (top / 2) } } span { "0" } }
                    (drawing("ended", "Runs that ended in each minute of the last hour",
                        &format!("{all} in total; {most} in the busiest minute."),
                        &html! {
                            @if top > 1 { (line(HEIGHT / 2.0)) }
                            @for (place, minute) in minutes.iter().enumerate() { (bar(place, minute, top)) }
                        }))
                }
                (axis())
                (table(minutes, |minute| minute.ended.iter().sum::<u64>() > 0,
                    &End::ALL.map(|end| word(end).1),
                    |minute| minute.ended.iter().map(ToString::to_string).collect()))
            }
        }
    }
}

/// One minute: a stacked bar of the results.
fn bar(place: usize, minute: &Minute, top: u64) -> Markup {
    let told = End::ALL.into_iter().filter(|end| minute.ended[*end as usize] > 0);
    let told: Vec<_> =
        told.map(|end| format!("{} {}", minute.ended[end as usize], word(end).1)).collect();
    let heights = End::ALL.map(|end| (end, HEIGHT * share(minute.ended[end as usize], top)));
    let feet = heights.into_iter().scan(HEIGHT, |foot, (end, height)| {
        *foot -= height;
        Some((end, *foot, height))
    });
    html! {
        @if !told.is_empty() {
            g {
                title { (ago(place)) ": " (told.join(", ")) }
                @for (end, y, height) in feet.filter(|(.., height)| *height > 0.0) {
                    rect class=(word(end).0) x=(place * STEP) y=(short(y))
                        width=(STEP - 1) height=(short(height)) {}
                }
            }
        }
    }
}

fn word(end: End) -> (&'static str, &'static str) {
    match end {
        End::Completed => ("completed", "completed"),
        End::Failed => ("failed", "failed"),
        End::Cancelled => ("cancelled", "cancelled"),
        End::Again => ("again", "to be retried"),
    }
}

fn ago(place: usize) -> String {
    match MINUTES - 1 - place {
        0 => "this minute".to_owned(),
        1 => "a minute ago".to_owned(),
        ago => format!("{ago} minutes ago"),
    }
}

/// The next number of 1, 2, 4, 10, 20, 40 and so on. From 2 on, each has an integer half.
fn round_up(most: u64) -> u64 {
    let mut ten = 1_u64;
    loop {
        for top in [1, 2, 4].map(|it| ten.saturating_mul(it)) {
            if top >= most {
                return top;
            }
        }
        ten = ten.saturating_mul(10);
    }
}

fn share(part: u64, whole: u64) -> f64 {
    float(part) / float(whole.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_of_a_scale_has_a_half() {
        for (most, top) in [(0, 1), (1, 1), (3, 4), (5, 10), (41, 100), (100, 100), (101, 200)] {
            assert_eq!(round_up(most), top);
        }
    }
}
