//! Pictures of what was measured, as SVG.

use std::error::Error;

use plotters::prelude::*;

use crate::{error::BenchError, statistics::Samples};

const SIZE: (u32, u32) = (760, 420);
const COLOURS: [RGBColor; 5] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(127, 127, 127),
    RGBColor(44, 160, 44),
    RGBColor(148, 103, 189),
];

/// Lines over one axis; values of the axis are drawn by their logarithms.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    /// Of its file.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) across: &'static str,
    pub(crate) up: &'static str,
    pub(crate) lines: Vec<(String, Vec<(f64, f64)>)>,
}

impl Plot {
    /// How many of a hundred did not take longer than that.
    pub(crate) fn distribution(
        name: &'static str,
        title: &'static str,
        all: &[(&str, &Samples)],
    ) -> Self {
        let lines = all.iter().map(|(what, samples)| {
            let sorted = samples.sorted();
            let share = |index: usize| (index + 1) as f64 * 100.0 / sorted.len() as f64;
            let points = sorted.iter().enumerate().map(|(index, value)| (*value, share(index)));
            ((*what).to_owned(), points.collect())
        });
        Self { name, title, across: "milliseconds", up: "% are done", lines: lines.collect() }
    }

    pub(crate) fn svg(&self) -> Result<String, BenchError> {
        let mut text = String::new();
        self.draw(&mut text)
            .map_err(|error| BenchError::unexpected(format!("{}: {error}", self.name)))?;
        Ok(text)
    }

    fn draw(&self, text: &mut String) -> Result<(), Box<dyn Error>> {
        let points = || self.lines.iter().flat_map(|(_, points)| points);
        let edge = |of: fn(f64, f64) -> f64, pick: fn(&(f64, f64)) -> f64| {
            points().map(pick).reduce(of).unwrap_or(1.0)
        };
        let (left, right) = (edge(f64::min, |it| it.0), edge(f64::max, |it| it.0));
        let top = edge(f64::max, |it| it.1) * 1.05;
        let across = (left.max(0.001) * 0.9..right.max(0.002) * 1.1).log_scale();
        let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(self.title, ("sans-serif", 17))
            .margin(14)
            .x_label_area_size(42)
            .y_label_area_size(58)
            .build_cartesian_2d(across, 0.0..top)?;
        chart
            .configure_mesh()
            .light_line_style(RGBColor(238, 238, 238))
            .x_desc(self.across)
            .y_desc(self.up)
            .x_label_formatter(&|value| crate::report::short(*value))
            .y_label_formatter(&|value| crate::report::short(*value))
            .draw()?;
        for ((what, points), colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            chart
                .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?
                .label(what)
                .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .background_style(WHITE.mix(0.85))
            .border_style(RGBColor(200, 200, 200))
            .position(SeriesLabelPosition::LowerRight)
            .draw()?;
        area.present()?;
        Ok(())
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
}
