//! Jobs of many kinds, drawn from a seed, each with its expected output and end.

use std::time::Duration;

use orchestra_contracts::Outcome;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::check::{Content, JobPlan, Text, Wish};

/// What kind of job was drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Short,
    /// Writes a line now and then, for some seconds.
    Long,
    /// Fails every time and is retried.
    Failing,
    /// Writes some megabytes at once.
    Noisy,
    /// Writes more than a log may hold.
    Flood,
    Binary,
    BothStreams,
    TimedOut,
    /// Leaves background processes behind.
    Background,
    /// Kills its own shell.
    Suicidal,
    Cancelled,
    Deleted,
}

/// A drawn job.
#[derive(Clone, Debug)]
pub struct Drawn {
    pub kind: Kind,
    pub spec: Value,
    pub plan: JobPlan,
    pub content: Content,
    /// A request to cancel or delete it, and how long after its submission it is sent.
    pub wish: Option<(Wish, Duration)>,
}

/// Draws jobs from a seed.
#[derive(Debug)]
pub struct Mix {
    random: StdRng,
}

impl Mix {
    pub fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed) }
    }

    fn kind(&mut self) -> Kind {
        match self.random.random_range(0..100) {
            0..24 => Kind::Short,
            24..46 => Kind::Long,
            46..54 => Kind::Failing,
            54..58 => Kind::Noisy,
            58 => Kind::Flood,
            59..66 => Kind::Binary,
            66..74 => Kind::BothStreams,
            74..78 => Kind::TimedOut,
            78..83 => Kind::Background,
            83..87 => Kind::Suicidal,
            87..95 => Kind::Cancelled,
            _ => Kind::Deleted,
        }
    }

    pub fn draw(&mut self) -> Drawn {
        let kind = self.kind();
        let lines = self.random.random_range(1..=2_000);
        let slow = self.random.random_range(20..=160);
        let soon = Duration::from_millis(self.random.random_range(0..4_000));
        let mut content = Content::stdout(Text::Lines(lines));
        let mut ends = vec![Outcome::Exited { code: 0 }];
        let mut retries = 0;
        let mut timeout = None;
        let mut wish = None;
        let command = match kind {
            Kind::Short => numbered(lines),
            Kind::Long | Kind::Cancelled | Kind::Deleted => {
                content = Content::stdout(Text::Lines(slow));
                wish = match kind {
                    Kind::Cancelled => Some((Wish::Cancel, soon)),
                    Kind::Deleted => Some((Wish::Delete, soon)),
                    _ => None,
                };
                format!("for ((i = 1; i <= {slow}; i++)); do echo \"line $i\"; sleep 0.05; done")
            }
            Kind::Failing => {
                retries = 2;
                ends = vec![Outcome::Exited { code: 3 }];
                format!("{}; exit 3", numbered(lines))
            }
            Kind::Noisy => {
                content = Content::stdout(Text::Lines(lines * 200));
                numbered(lines * 200)
            }
            Kind::Flood => {
                content = Content::stdout(Text::Lines(1_800_000));
                numbered(1_800_000)
            }
            Kind::Binary => {
                let piece = b"\x00\xff\xfe\r\n\x1b[31m\xe2\x82";
                content = Content::stdout(Text::Bytes(piece.repeat(lines as usize)));
                let piece = r"\000\377\376\r\n\033[31m\342\202%.0s";
                format!("printf '{piece}' $(seq {lines})")
            }
            Kind::BothStreams => {
                content.stderr = Text::Lines(lines);
                format!("{} & {} >&2; wait", numbered(lines), numbered(lines))
            }
            Kind::TimedOut => {
                content = Content::stdout(Text::Text("before\n".to_owned()));
                ends = vec![Outcome::TimedOut];
                timeout = Some("2s");
                "echo before; sleep 1000".to_owned()
            }
            Kind::Background => {
                content = Content::stdout(Text::Text("done\n".to_owned()));
                "sleep 1000 & setsid nohup sleep 1000 >/dev/null 2>&1 & echo done".to_owned()
            }
            Kind::Suicidal => {
                content = Content::stdout(Text::Text("before\n".to_owned()));
                ends = vec![Outcome::Signalled { signal: 9 }];
                "echo before; kill -9 $$".to_owned()
            }
        };
        let mut spec = json!({"command": command, "maxRetries": retries});
        if let Some(timeout) = timeout {
            spec["timeout"] = json!(timeout);
        }
        let plan = JobPlan { command, max_retries: retries, ends };
        Drawn { kind, spec, plan, content, wish }
    }

    /// A pause before the next submission.
    pub fn pause(&mut self) -> Duration {
        Duration::from_millis(self.random.random_range(0..600))
    }

    /// Whether a reader follows the job.
    pub fn is_followed(&mut self) -> bool {
        self.random.random_bool(0.4)
    }
}

fn numbered(lines: u64) -> String {
    format!("seq {lines} | sed 's/^/line /'")
}
