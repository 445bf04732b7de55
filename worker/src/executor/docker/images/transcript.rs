//! Parses the output of tools and of the engine's builder: the current step, the lines worth
//! passing on, and the last lines before a failure. Pure.

use std::{collections::VecDeque, fmt::Write as _};

/// How many last lines to quote when a build fails.
const TAIL: usize = 20;

/// The most characters of a line, which people have to read. Longer lines are cut.
const MAX_LINE: usize = 200;

#[derive(Debug, Default)]
pub(super) struct Transcript {
    /// The beginning of an unfinished line.
    open: String,
    tail: VecDeque<String>,
    /// Whether the current step does work. The first steps only name a base image.
    at_work: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A step of the Dockerfile begins: `2/4: RUN make`.
    Step(String),
    /// A line printed by a step or a tool.
    Printed(String),
}

impl Transcript {
    /// Takes the next piece of output and returns the lines that it completes.
    pub(super) fn read(&mut self, piece: &str) -> Vec<Line> {
        self.open.push_str(piece);
        let mut lines = Vec::new();
        while let Some(end) = self.open.find('\n') {
            let line = plain(&self.open[..end]);
            self.open.drain(..=end);
            lines.extend(self.line(line));
        }
        lines
    }

    fn line(&mut self, line: String) -> Option<Line> {
        if is_noise(&line) {
            return None;
        }
        if let Some(step) = step(&line) {
            let word = step.split_once(": ").map_or("", |(_, what)| what);
            self.at_work = !["ARG", "FROM"].iter().any(|first| word.starts_with(first));
            return Some(Line::Step(step));
        }
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line.clone());
        Some(Line::Printed(line))
    }

    /// Whether a step runs that may take long, rather than one that waits for a registry.
    pub(super) fn is_at_work(&self) -> bool {
        self.at_work
    }

    /// The last printed lines, each preceded by a line feed and indented.
    pub(super) fn tail(&self) -> String {
        let rest = plain(&self.open);
        let rest = Some(&rest).filter(|rest| !is_noise(rest));
        let last = self.tail.iter().chain(rest);
        last.fold(String::new(), |mut all, line| {
            let _ = write!(all, "\n  {line}");
            all
        })
    }
}

/// Turns `Step 2/4 : RUN make` into `2/4: RUN make`.
fn step(line: &str) -> Option<String> {
    let (number, what) = line.strip_prefix("Step ")?.split_once(" : ")?;
    let (at, of) = number.split_once('/')?;
    (at.parse::<u32>().is_ok() && of.parse::<u32>().is_ok()).then(|| format!("{number}: {what}"))
}

/// The step and the number of steps, if this line of progress begins a step.
pub fn step_of(line: &str) -> Option<(u64, u64)> {
    let (_, step) = line.strip_prefix("image ")?.split_once(": step ")?;
    let (at, rest) = step.split_once('/')?;
    let (of, _) = rest.split_once(':')?;
    Some((at.parse().ok()?, of.parse().ok()?))
}

/// The builder's bookkeeping: ids of layers and of temporary containers.
fn is_noise(line: &str) -> bool {
    line.is_empty()
        || line.starts_with("---> ")
        || line.starts_with("Removing intermediate container ")
        || line.starts_with("Removed intermediate container ")
        || line.starts_with("Successfully built ")
        || line.starts_with("Successfully tagged ")
}

/// Removes colours and whatever a progress bar has overwritten, and cuts long lines.
fn plain(line: &str) -> String {
    let line = line.trim();
    let line = line.rsplit('\r').next().unwrap_or(line);
    let mut text = String::new();
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        if letter == '\u{1b}' {
            // A control sequence ends with its first letter.
            letters.by_ref().find(char::is_ascii_alphabetic);
        } else if letter == '\t' || !letter.is_control() {
            text.push(letter);
        }
    }
    match text.char_indices().nth(MAX_LINE) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(text: &str) -> Line {
        Line::Printed(text.to_owned())
    }

    #[test]
    fn steps_and_output_are_told_apart_and_noise_is_left_out() {
        let mut transcript = Transcript::default();
        let lines = transcript.read(
            "Step 1/2 : FROM ${BASE}\n ---> 0123456789ab\nStep 2/2 : RUN make\n ---> Running in ab\n\
             Step by step\ncc -c a.c\r\nRemoving intermediate container ab\n\nSuccessfully built ab\n",
        );
        let step = |text: &str| Line::Step(text.to_owned());
        assert_eq!(
            lines,
            [
                step("1/2: FROM ${BASE}"),
                step("2/2: RUN make"),
                printed("Step by step"),
                printed("cc -c a.c"),
            ]
        );
    }

    #[test]
    fn a_base_that_is_fetched_is_no_work() {
        let mut transcript = Transcript::default();
        assert!(!transcript.is_at_work());
        for (line, at_work) in [
            ("Step 1/3 : ARG BASE\n", false),
            ("Step 2/3 : FROM a\n", false),
            ("Step 3/3 : RUN x\n", true),
        ] {
            transcript.read(line);
            assert_eq!(transcript.is_at_work(), at_work, "{line}");
        }
    }

    #[test]
    fn a_line_of_progress_tells_its_step() {
        assert_eq!(step_of("image gcc: step 3/4: RUN make"), Some((3, 4)));
        assert_eq!(step_of("image gcc: Get:1 step 3/4: x"), None);
        assert_eq!(step_of("image gcc: building orchestra/gcc:1"), None);
    }

    #[test]
    fn lines_come_in_pieces() {
        let mut transcript = Transcript::default();
        assert_eq!(transcript.read("Get:1 http"), []);
        assert_eq!(transcript.read("://x\nGet:2"), [printed("Get:1 http://x")]);
        assert_eq!(transcript.tail(), "\n  Get:1 http://x\n  Get:2");
    }

    #[test]
    fn colours_and_overwritten_progress_are_left_out_and_long_lines_cut() {
        let mut transcript = Transcript::default();
        let lines = transcript.read("\u{1b}[1;31merror\u{1b}[0m: no\n10%\r50%\r100% done\n");
        assert_eq!(lines, [printed("error: no"), printed("100% done")]);
        let long = "ä".repeat(500) + "\n";
        assert_eq!(transcript.read(&long), [printed(&("ä".repeat(200) + "..."))]);
    }

    #[test]
    fn the_tail_is_the_last_twenty_lines() {
        let mut transcript = Transcript::default();
        for number in 1..=100 {
            transcript.read(&format!("line {number}\n"));
        }
        let tail = transcript.tail();
        assert_eq!(tail.lines().count(), 21);
        assert!(tail.starts_with("\n  line 81\n") && tail.ends_with("\n  line 100"), "{tail}");
    }
}
