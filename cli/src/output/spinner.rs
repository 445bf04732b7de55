//! One moving line on standard error that says what is being waited for.
//! Where standard error is no terminal it does not exist.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::escape;

/// Ten pictures a second look smooth and cost nothing.
const TICK: Duration = Duration::from_millis(100);
/// What does not fit the terminal is cut there; this bounds the work before that.
const LONGEST: usize = 250;

#[derive(Debug)]
pub(crate) struct Spinner(ProgressBar);

impl Spinner {
    /// `None` where it could not be seen.
    pub(crate) fn new() -> Option<Self> {
        let bar = ProgressBar::new_spinner();
        if bar.is_hidden() {
            return None;
        }
        let style = ProgressStyle::with_template("{spinner} {wide_msg}")
            .expect("the template is a constant");
        bar.set_style(style);
        Some(Self(bar))
    }

    /// Shows the line in place of the one before.
    pub(crate) fn show(&self, line: &str) {
        self.0.set_message(escape::short(line, LONGEST));
        self.0.enable_steady_tick(TICK);
    }

    /// Prints a line above it, for good.
    pub(crate) fn print(&self, line: &str) {
        self.0.println(line);
    }

    /// Leaves no trace.
    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.clear();
    }
}
