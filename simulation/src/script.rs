//! A simulated command, written as the command of its job:
//! `lines 20 every 150; exit 1,0; stubborn`.

use std::{fmt, time::Duration};

use orchestra_contracts::{AttemptNo, Outcome, frame::Stream};

use crate::chance::Chance;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    pub lines: u64,
    /// Milliseconds between lines.
    every: u64,
    /// Exit codes by attempt; the last one repeats. When empty, the command never ends.
    codes: Vec<i32>,
    /// SIGTERM does not end it.
    pub stubborn: bool,
}

impl Script {
    pub fn any(chance: &Chance) -> Self {
        let codes: &[&[i32]] = &[&[0], &[0], &[0], &[0], &[1], &[1, 0], &[3, 3, 0], &[]];
        let (lines, every) = match chance.number(0, 9) {
            0 => (0, 1),
            1..=4 => (chance.number(1, 10), chance.number(1, 200)),
            5..=7 => (chance.number(10, 60), chance.number(20, 500)),
            _ => (chance.number(30, 120), chance.number(50, 400)),
        };
        Self { lines, every, codes: chance.one_of(codes).to_vec(), stubborn: chance.permille(200) }
    }

    /// A script that ends within a fifth of a second.
    pub fn short(chance: &Chance) -> Self {
        let codes: &[&[i32]] = &[&[0], &[0], &[0], &[0], &[1], &[1, 0], &[3, 3, 0]];
        Self {
            lines: chance.number(0, 5),
            every: chance.number(1, 40),
            codes: chance.one_of(codes).to_vec(),
            stubborn: chance.permille(100),
        }
    }

    /// Time from its start to what follows after this many lines; `None` when nothing follows.
    pub fn next(&self, line: u64) -> Option<Duration> {
        let idles = line >= self.lines && self.codes.is_empty();
        (!idles).then(|| Duration::from_millis((line + 1) * self.every))
    }

    /// The text of a line. It names its attempt, so lines of different attempts cannot be confused.
    pub fn line(&self, attempt: AttemptNo, number: u64) -> (Stream, String) {
        let stream = if number.is_multiple_of(5) { Stream::Stderr } else { Stream::Stdout };
        (stream, format!("attempt {attempt} line {number}\n"))
    }

    pub fn code(&self, attempt: AttemptNo) -> i32 {
        let place = attempt.0.saturating_sub(1) as usize;
        self.codes.get(place).or(self.codes.last()).copied().unwrap_or_default()
    }

    /// All ends that the command can have under this timeout when left alone.
    pub fn ends(&self, timeout: Duration) -> Vec<Outcome> {
        let mut ends: Vec<_> =
            self.codes.iter().map(|code| Outcome::Exited { code: *code }).collect();
        if self.codes.is_empty() || Duration::from_millis((self.lines + 1) * self.every) >= timeout
        {
            ends.push(Outcome::TimedOut);
        }
        ends
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lines {} every {}", self.lines, self.every)?;
        let codes: Vec<_> = self.codes.iter().map(ToString::to_string).collect();
        if codes.is_empty() {
            write!(f, "; hang")
        } else {
            write!(f, "; exit {}", codes.join(","))
        }?;
        if self.stubborn { write!(f, "; stubborn") } else { Ok(()) }
    }
}

impl Script {
    /// Parses what [`Display`](fmt::Display) writes; `None` for anything else.
    pub fn parse(command: &str) -> Option<Self> {
        let mut script = Self { lines: 0, every: 1, codes: Vec::new(), stubborn: false };
        for step in command.split("; ") {
            let words: Vec<_> = step.split(' ').collect();
            match words[..] {
                ["lines", lines, "every", every] => {
                    script.lines = lines.parse().ok()?;
                    script.every = every.parse().ok()?;
                }
                ["exit", codes] => {
                    let codes: Result<_, _> = codes.split(',').map(str::parse).collect();
                    script.codes = codes.ok()?;
                }
                ["hang"] => {}
                ["stubborn"] => script.stubborn = true,
                _ => return None,
            }
        }
        Some(script)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_read_as_they_are_written() {
        let chance = Chance::of(1, "scripts");
        for _ in 0..200 {
            let script = Script::any(&chance);
            assert_eq!(Script::parse(&script.to_string()), Some(script));
        }
    }
}
