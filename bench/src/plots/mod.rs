//! Charts of the measurements, as SVG.

mod bars;
mod lines;

use std::error::Error;

use plotters::style::RGBColor;

use self::{bars::Bars, lines::Lines};
use crate::{error::BenchError, statistics::Samples};

const FONT: &str = "sans-serif";
const WIDTH: u32 = 760;
const COLOURS: [RGBColor; 5] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(127, 127, 127),
    RGBColor(44, 160, 44),
    RGBColor(148, 103, 189),
];

/// One chart.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    /// Base name of its file.
    pub(crate) name: &'static str,
    title: &'static str,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Lines(Lines),
    Bars(Bars),
}

impl Plot {
    /// The cumulative distribution: how many percent of the samples took at most this long.
    pub(crate) fn distribution(
        name: &'static str,
        title: &'static str,
        all: &[(&str, &Samples)],
    ) -> Self {
        Self { name, title, kind: Kind::Lines(Lines::distribution(all)) }
    }

    /// Quantities over an axis; both axes are labelled.
    pub(crate) fn lines(
        name: &'static str,
        title: &'static str,
        (across, up): (&'static str, &'static str),
        all: Vec<(String, Vec<(f64, f64)>)>,
    ) -> Self {
        Self { name, title, kind: Kind::Lines(Lines { across, up, all }) }
    }

    /// Medians side by side, with the lowest and highest median of their blocks.
    pub(crate) fn bars<S: Into<String>>(
        name: &'static str,
        title: &'static str,
        unit: &'static str,
        all: impl IntoIterator<Item = (S, Samples)>,
    ) -> Self {
        Self { name, title, kind: Kind::Bars(Bars::new(unit, all)) }
    }

    pub(crate) fn svg(&self) -> Result<String, BenchError> {
        let mut text = String::new();
        self.draw(&mut text)
            .map_err(|error| BenchError::unexpected(format!("{}: {error}", self.name)))?;
        Ok(text)
    }

    fn draw(&self, text: &mut String) -> Result<(), Box<dyn Error>> {
        match &self.kind {
            Kind::Lines(lines) => lines.draw(self.title, text),
            Kind::Bars(bars) => bars.draw(self.title, text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_drawn_and_named() {
        let one: Samples = [vec![1.0, 2.0, 4.0]].into_iter().collect();
        let two: Samples = [vec![100.0, 200.0]].into_iter().collect();
        let plot = Plot::distribution("x", "how long", &[("ours", &one), ("<theirs>", &two)]);
        let svg = plot.svg().expect("it can be drawn");
        assert!(svg.matches("<polyline").count() >= 2, "{svg}");
        assert!(svg.contains("ours") && svg.contains("&lt;theirs&gt;") && svg.contains("how long"));
    }

    #[test]
    fn every_bar_is_as_long_as_its_median_says() {
        let one: Samples = [vec![1000.0], vec![1200.0], vec![1100.0]].into_iter().collect();
        let two: Samples = [vec![275.0]].into_iter().collect();
        let plot = Plot::bars("x", "how many", "jobs/s", [("ours", one), ("<theirs>", two)]);
        let svg = plot.svg().expect("it can be drawn");
        let fill =
            format!("fill=\"#{:02X}{:02X}{:02X}\"", COLOURS[0].0, COLOURS[0].1, COLOURS[0].2);
        let widths: Vec<f64> = svg
            .lines()
            .filter(|line| line.starts_with("<rect") && line.contains(&fill))
            .filter_map(|line| line.split("width=\"").nth(1)?.split('"').next()?.parse().ok())
            .collect();
        let [ours, theirs] = widths[..] else { panic!("two bars: {svg}") };
        assert!((ours / theirs - 4.0).abs() < 0.05, "1100 against 275: {ours} and {theirs}");
        assert!(svg.contains("&lt;theirs&gt;") && svg.contains("1100") && svg.contains("275"));
        assert!(svg.contains("1000 to 1200"), "{svg}");
    }
}
