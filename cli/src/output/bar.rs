//! A bar on standard error that shows how far something is which has a known number of
//! steps or bytes. Where standard error is no terminal it does not exist.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::escape;

/// Ten pictures a second look smooth and cost nothing.
const TICK: Duration = Duration::from_millis(100);
/// What does not fit the terminal is cut there; this bounds the work before that.
const LONGEST: usize = 250;

#[derive(Debug)]
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// `None` where it could not be seen.
    pub(crate) fn new() -> Option<Self> {
        let bar = ProgressBar::no_length();
        if bar.is_hidden() {
            return None;
        }
        bar.set_style(style());
        Some(Self(bar))
    }

    /// Shows how many bytes of how many are done.
    pub(crate) fn show_bytes(&self, done: u64, of: u64, line: &str) {
        self.0.set_style(byte_style());
        self.0.set_length(of);
        self.0.set_position(done);
        self.0.set_message(escape::short(line, LONGEST));
        self.0.enable_steady_tick(TICK);
    }

    /// Shows the line beside the bar; `step` begins where it is told.
    pub(crate) fn show(&self, step: Option<(u64, u64)>, line: &str) {
        if let Some((at, of)) = step {
            self.0.set_length(of);
            // It begins, and is not done.
            self.0.set_position(at.saturating_sub(1));
        }
        self.0.set_message(escape::short(line, LONGEST));
        self.0.enable_steady_tick(TICK);
    }
}

impl Drop for Bar {
    /// Leaves no trace.
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{elapsed:>4} [{bar:24}] {pos}/{len} {wide_msg}")
        .expect("the template is a constant")
        .progress_chars("=> ")
}

fn byte_style() -> ProgressStyle {
    ProgressStyle::with_template("{elapsed:>4} [{bar:24}] {bytes}/{total_bytes} {wide_msg}")
        .expect("the template is a constant")
        .progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_where_the_step_begins_and_shows_what_is_harmless() {
        let bar = Bar(ProgressBar::hidden());
        bar.show(Some((3, 4)), "RUN make\u{1b}[2J");
        bar.show(None, "cc -c a.c\u{1b}[2J");
        assert_eq!((bar.0.position(), bar.0.length()), (2, Some(4)));
        assert_eq!(bar.0.message(), "cc -c a.c\\u{1b}[2J");
        bar.0.set_style(style());
        bar.show_bytes(5, 9, "data\u{1b}[2J");
        assert_eq!((bar.0.position(), bar.0.length()), (5, Some(9)));
        assert_eq!(bar.0.message(), "data\\u{1b}[2J");
    }
}
