//! Everything that goes to the terminal.
//!
//! Standard output carries what was asked for, in one of three formats; standard
//! error carries what Orchestra has to say. Names, commands and outputs of jobs
//! are other people's data: outside of a log they pass through [`escape`].

pub(crate) mod escape;
pub(crate) mod log;
pub(crate) mod spinner;
pub(crate) mod table;
pub(crate) mod tail;
pub(crate) mod when;

use std::io::{self, Write};

use serde::Serialize;

/// How a result is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// The API's own JSON.
    Json,
    /// Ids alone, one on each line.
    Name,
}

/// Writes to standard output, whole.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

pub(crate) fn print_line(text: impl std::fmt::Display) -> io::Result<()> {
    print(&format!("{text}\n"))
}

pub(crate) fn print_json(value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(io::Error::other)?;
    print_line(text)
}

/// A sentence on standard error, and the lines that some errors bring along.
/// Nobody is left to tell when that fails.
pub(crate) fn say(text: &str) {
    for line in text.lines() {
        let _ = writeln!(io::stderr(), "orchestra: {}", escape::line(line));
    }
}
