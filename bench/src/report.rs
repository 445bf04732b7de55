//! The report of a run: a table for each row, its goal, and whether it was met.

use std::{collections::BTreeMap, fmt, fs, path::Path};

use crate::{args::Row, clock, error::BenchError, plots::Plot, statistics::Samples};

/// One measured row.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) row: Row,
    pub(crate) title: &'static str,
    pub(crate) lines: Vec<Line>,
    pub(crate) goals: Vec<Goal>,
    /// Notes that the reader needs to interpret the row.
    pub(crate) notes: Vec<String>,
    pub(crate) plots: Vec<Plot>,
}

#[derive(Debug)]
pub(crate) struct Line {
    what: String,
    cells: Vec<String>,
}

/// A goal, and whether it was met.
#[derive(Debug)]
pub(crate) struct Goal {
    wanted: String,
    measured: String,
    met: bool,
}

impl Measured {
    pub(crate) fn new(row: Row, title: &'static str) -> Self {
        let (lines, goals, notes, plots) = Default::default();
        Self { row, title, lines, goals, notes, plots }
    }

    /// Adds times or sizes: median, tail, and the spread of the blocks.
    pub(crate) fn line(&mut self, what: impl Into<String>, unit: &str, samples: &Samples) {
        let (low, high) = samples.spread();
        let cells = [
            short(samples.median()),
            short(samples.percentile(90.0)),
            short(samples.percentile(99.0)),
            format!("{} to {}", short(low), short(high)),
            samples.count().to_string(),
        ];
        self.lines.push(Line { what: format!("{}, {unit}", what.into()), cells: cells.into() });
    }

    /// Adds one figure for a whole run.
    pub(crate) fn figure(&mut self, what: impl Into<String>, unit: &str, value: f64) {
        let none = String::new;
        let cells = vec![short(value), none(), none(), none(), "1".to_owned()];
        self.lines.push(Line { what: format!("{}, {unit}", what.into()), cells });
    }

    pub(crate) fn goal(
        &mut self,
        wanted: impl Into<String>,
        measured: impl Into<String>,
        met: bool,
    ) {
        self.goals.push(Goal { wanted: wanted.into(), measured: measured.into(), met });
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

/// Formats with three significant digits.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## {}: {}\n", self.row, self.title)?;
        writeln!(f, "| | p50 | p90 | p99 | medians of the blocks | n |")?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        for Line { what, cells } in &self.lines {
            writeln!(f, "| {what} | {} |", cells.join(" | "))?;
        }
        if !self.goals.is_empty() {
            writeln!(f, "\n| goal | measured | |\n|---|---|---|")?;
            for Goal { wanted, measured, met } in &self.goals {
                let met = if *met { "met" } else { "**not met**" };
                writeln!(f, "| {wanted} | {measured} | {met} |")?;
            }
        }
        writeln!(f)?;
        for note in &self.notes {
            writeln!(f, "{note}\n")?;
        }
        Ok(())
    }
}

/// All rows of one run.
#[derive(Debug)]
pub(crate) struct Report {
    machine: Vec<String>,
    rows: Vec<Measured>,
    skipped: Vec<String>,
}

impl Report {
    pub(crate) fn new(machine: Vec<String>) -> Self {
        Self { machine, rows: Vec::new(), skipped: Vec::new() }
    }

    pub(crate) fn add(&mut self, row: Measured) {
        self.rows.push(row);
    }

    pub(crate) fn skip(&mut self, row: Row, why: &BenchError) {
        self.skipped.push(format!("{row}: not measured. {why}"));
    }

    /// Writes the table, named by today's date, into one folder and the plots into another.
    pub(crate) fn write(&self, tables: &Path, plots: &Path) -> Result<(), BenchError> {
        let what = |path: &Path| path.display().to_string();
        fs::create_dir_all(tables).map_err(BenchError::io(what(tables)))?;
        let today = clock::today();
        let path = tables.join(format!("{today}.md"));
        fs::write(&path, self.text(&today)).map_err(BenchError::io(what(&path)))?;
        let drawn: BTreeMap<_, _> =
            self.rows.iter().flat_map(|row| &row.plots).map(|plot| (plot.name, plot)).collect();
        if !drawn.is_empty() {
            fs::create_dir_all(plots).map_err(BenchError::io(what(plots)))?;
        }
        for (name, plot) in drawn {
            let path = plots.join(format!("{name}.svg"));
            fs::write(&path, plot.svg()?).map_err(BenchError::io(what(&path)))?;
        }
        eprintln!("== written to {}", path.display());
        Ok(())
    }

    fn text(&self, today: &str) -> String {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let machine: Vec<String> = self.machine.iter().map(|line| format!("- {line}")).collect();
        let head = format!(
            "# Benchmark of {today}\n\n`cargo run --release -p bench -- {}`\n\n{}",
            arguments.join(" "),
            machine.join("\n")
        );
        let rows = self.rows.iter().map(|row| row.to_string().trim_end().to_owned());
        let all: Vec<_> = std::iter::once(head).chain(rows).chain(self.skipped.clone()).collect();
        all.join("\n\n") + "\n"
    }
}
