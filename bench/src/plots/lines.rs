//! Lines over a common axis with a logarithmic scale.

use std::error::Error;

use plotters::prelude::*;

use super::{COLOURS, FONT, WIDTH};
use crate::{report::short, statistics::Samples};

const HEIGHT: u32 = 420;

#[derive(Clone, Debug)]
pub(super) struct Lines {
    pub(super) across: &'static str,
    pub(super) up: &'static str,
    pub(super) all: Vec<(String, Vec<(f64, f64)>)>,
}

impl Lines {
    pub(super) fn distribution(all: &[(&str, &Samples)]) -> Self {
        let lines = all.iter().map(|(what, samples)| {
            let sorted = samples.sorted();
            let share = |index: usize| (index + 1) as f64 * 100.0 / sorted.len() as f64;
            let points = sorted.iter().enumerate().map(|(index, value)| (*value, share(index)));
            ((*what).to_owned(), points.collect())
        });
        Self { across: "milliseconds", up: "% are done", all: lines.collect() }
    }

    pub(super) fn draw(&self, title: &str, text: &mut String) -> Result<(), Box<dyn Error>> {
        let points = || self.all.iter().flat_map(|(_, points)| points);
        let edge = |of: fn(f64, f64) -> f64, pick: fn(&(f64, f64)) -> f64| {
            points().map(pick).reduce(of).unwrap_or(1.0)
        };
        let (left, right) = (edge(f64::min, |it| it.0), edge(f64::max, |it| it.0));
        let top = edge(f64::max, |it| it.1) * 1.05;
        let across = (left.max(0.001) * 0.9..right.max(0.002) * 1.1).log_scale();
        let area = SVGBackend::with_string(text, (WIDTH, HEIGHT)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(title, (FONT, 17))
            .margin(14)
            .x_label_area_size(42)
            .y_label_area_size(58)
            .build_cartesian_2d(across, 0.0..top)?;
        chart
            .configure_mesh()
            .light_line_style(RGBColor(238, 238, 238))
            .x_desc(self.across)
            .y_desc(self.up)
            .x_label_formatter(&|value| short(*value))
            .y_label_formatter(&|value| short(*value))
            .draw()?;
        for ((what, points), colour) in self.all.iter().zip(COLOURS.iter().cycle()) {
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
