//! A chart of how long the jobs that were handed out in each minute had waited.

use maud::{Markup, html};

use super::{HEIGHT, STEP, axis, drawing, float, line, short, table};
use crate::{
    http::web::text::millis,
    metrics::{Minute, Waits},
};

/// The scale's steps in milliseconds. They are drawn at equal distances, so that short and long
/// waits are both readable.
const STEPS: [(u64, &str); 10] = [
    (1, "1 ms"),
    (10, "10 ms"),
    (100, "0.1 s"),
    (1000, "1 s"),
    (10_000, "10 s"),
    (60_000, "1 min"),
    (600_000, "10 min"),
    (3_600_000, "1 h"),
    (36_000_000, "10 h"),
    (360_000_000, "100 h"),
];

/// The percentiles in the chart.
const HALF: u64 = 50;
const MOST: u64 = 95;

pub(super) fn figure(minutes: &[Minute]) -> Markup {
    let mut hour = Waits::default();
    for minute in minutes {
        hour.merge(&minute.waits);
    }
    let all = |percent| minutes.iter().filter_map(move |minute| minute.waits.within(percent));
    let shortest = all(HALF).min().unwrap_or_default();
    let longest = all(MOST).max().unwrap_or_default();
    let low = STEPS.iter().rposition(|(step, _)| *step <= shortest).unwrap_or_default();
    let low = low.min(STEPS.len() - 2);
    let high = STEPS.iter().position(|(step, _)| *step >= longest).unwrap_or(STEPS.len() - 1);
    let scale = Scale { low, high: high.max(low + 1) };
    html! {
        figure.card.plot {
            figcaption {
                h2 { "Time in the queue" }
                p.legend {
                    @if let (Some(half), Some(most)) = (hour.within(HALF), hour.within(MOST)) {
                        span.status.half { "half started within " (millis(half)) }
                        span.status.most { "95% within " (millis(most)) }
                    }
                }
            }
            @if hour.count == 0 {
                p.none { "No job was claimed in the last hour." }
            } @else {
                div.chart {
                    div.scale aria-hidden="true" {
                        @for (_, name) in STEPS[scale.low..=scale.high].iter().rev() { span { (name) } }
                    }
                    (drawing("waited", "Waiting time of the jobs that were claimed in each minute of the last hour",
                        &format!("{} jobs. Each step of the scale is several times the one below.", hour.count),
                        &html! {
                            @for step in scale.low + 1..scale.high { (line(scale.y(STEPS[step].0))) }
                            @for (class, percent) in [("most", MOST), ("half", HALF)] {
                                path class=(class) d=(steps(minutes, percent, &scale)) {}
                            }
                        }))
                }
                (axis())
                (table(minutes, |minute| minute.waits.count > 0, &["jobs", "half within", "95% within"],
                    |minute| {
                        let within = |percent| minute.waits.within(percent).map(millis).unwrap_or_default();
                        vec![minute.waits.count.to_string(), within(HALF), within(MOST)]
                    }))
            }
        }
    }
}

/// The visible range of the scale, as indexes into [`STEPS`].
struct Scale {
    low: usize,
    high: usize,
}

impl Scale {
    /// The y coordinate, interpolated logarithmically between two steps.
    fn y(&self, millis: u64) -> f64 {
        let lowest = STEPS[self.low].0;
        let millis = millis.clamp(lowest, STEPS[self.high].0);
        let below = STEPS.iter().rposition(|(step, _)| *step <= millis).unwrap_or(self.low);
        let below = below.clamp(self.low, self.high - 1);
        let (from, to) = (float(STEPS[below].0), float(STEPS[below + 1].0));
        let part = (float(millis) / from).log(to / from);
        let steps = (self.high - self.low) as u64;
        HEIGHT * (1.0 - (float((below - self.low) as u64) + part) / float(steps))
    }
}

/// The path: a horizontal segment for each minute, with gaps where no job was handed out.
fn steps(minutes: &[Minute], percent: u64, scale: &Scale) -> String {
    let mut path = String::new();
    let mut goes_on = false;
    for (place, minute) in minutes.iter().enumerate() {
        if let Some(millis) = minute.waits.within(percent) {
            let (y, end) = (short(scale.y(millis)), (place + 1) * STEP);
            let step = if goes_on { "V".to_owned() } else { format!("M{} ", place * STEP) };
            path.extend([step, format!("{y}H{end}")]);
        }
        goes_on = minute.waits.count > 0;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_of_the_scale_is_as_high_as_the_others() {
        let scale = Scale { low: 3, high: 6 };
        for (millis, y) in
            [(1, 60.0), (1000, 60.0), (10_000, 40.0), (60_000, 20.0), (u64::MAX, 0.0)]
        {
            assert!((scale.y(millis) - y).abs() < 0.01, "{millis}: {}", scale.y(millis));
        }
    }
}
