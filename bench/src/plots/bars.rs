//! A bar chart of medians, one bar below the other, each with its value.

use std::error::Error;

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{COLOURS, FONT, WIDTH};
use crate::{report::short, statistics::Samples};

/// Space left of the bars for names and right of them for values.
const NAMES: u32 = 270;
const FIGURES: u32 = 170;
const HEAD: u32 = 46;
const STEP: u32 = 34;
const THICK: u32 = 20;

#[derive(Clone, Debug)]
pub(super) struct Bars {
    unit: &'static str,
    all: Vec<Bar>,
}

#[derive(Clone, Debug)]
struct Bar {
    what: String,
    median: f64,
    spread: (f64, f64),
}

impl Bars {
    pub(super) fn new<S: Into<String>>(
        unit: &'static str,
        all: impl IntoIterator<Item = (S, Samples)>,
    ) -> Self {
        let all = all.into_iter().map(|(what, samples)| Bar {
            what: what.into(),
            median: samples.median(),
            spread: samples.spread(),
        });
        Self { unit, all: all.collect() }
    }

    pub(super) fn draw(&self, title: &str, text: &mut String) -> Result<(), Box<dyn Error>> {
        let height = HEAD + STEP * self.all.len() as u32 + 12;
        let area = SVGBackend::with_string(text, (WIDTH, height)).into_drawing_area();
        area.fill(&WHITE)?;
        let middle = Pos::new(HPos::Center, VPos::Center);
        let head = (FONT, 17).into_font().color(&BLACK).pos(middle);
        area.draw_text(&format!("{title}, {}", self.unit), &head, (WIDTH as i32 / 2, 22))?;
        let longest = self.all.iter().map(|bar| bar.median).fold(f64::MIN_POSITIVE, f64::max);
        let scale = f64::from(WIDTH - NAMES - FIGURES) / longest;
        for (index, bar) in (0..).zip(&self.all) {
            bar.draw(&area, (HEAD + STEP * index) as i32, scale)?;
        }
        area.present()?;
        Ok(())
    }
}

impl Bar {
    fn draw(
        &self,
        area: &DrawingArea<SVGBackend<'_>, Shift>,
        top: i32,
        scale: f64,
    ) -> Result<(), Box<dyn Error>> {
        let (left, half) = (NAMES as i32, THICK as i32 / 2);
        let right = left + (self.median * scale).round().max(1.0) as i32;
        let font = (FONT, 13).into_font().color(&BLACK);
        let name = font.pos(Pos::new(HPos::Right, VPos::Center));
        area.draw_text(&self.what, &name, (left - 8, top + half))?;
        let bar = [(left, top), (right, top + THICK as i32)];
        area.draw(&Rectangle::new(bar, COLOURS[0].filled()))?;
        let (low, high) = self.spread;
        let figure = format!("{} ({} to {})", short(self.median), short(low), short(high));
        area.draw_text(
            &figure,
            &font.pos(Pos::new(HPos::Left, VPos::Center)),
            (right + 8, top + half),
        )?;
        Ok(())
    }
}
