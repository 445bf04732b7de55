//! Everything that goes to the terminal.
//!
//! Standard output carries what was asked for, in one of three formats; standard
//! error carries what Orchestra has to say. Names, commands and outputs of jobs
//! are other people's data: outside of a log they pass through [`escape`].

pub(crate) mod advice;
pub(crate) mod bar;
pub(crate) mod escape;
pub(crate) mod inert;
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
    print_line(harmless_json(&text))
}

/// The same JSON. Its library writes out what JSON asks for (RFC 8259, section 7), and a
/// terminal obeys more than that. Line feeds stand between values alone.
fn harmless_json(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for c in text.chars() {
        if escape::is_harmful(c) && c != '\n' {
            harmless.extend(format!("\\u{:04x}", u32::from(c)).chars());
        } else {
            harmless.push(c);
        }
    }
    harmless
}

/// A sentence on standard error, and the lines that some errors bring along.
/// Nobody is left to tell when that fails.
pub(crate) fn say(text: &str) {
    for line in text.lines() {
        let _ = writeln!(io::stderr(), "orchestra: {}", escape::line(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stays_the_same_and_moves_no_cursor() {
        let value = serde_json::json!({"a\u{9b}": ["\u{1b}[2J", "\u{202e}x", "\u{7f}", "ü\n"]});
        let text = harmless_json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!text.chars().any(|c| escape::is_harmful(c) && c != '\n'), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
