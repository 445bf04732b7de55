//! The part of a log that a client wants to read.

use orchestra_contracts::{
    AttemptNo,
    event::Cursor,
    frame::{Body, Stream},
};

/// The part of a log to read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    pub start: Start,
    pub streams: Streams,
    /// Only this attempt.
    pub attempt: Option<AttemptNo>,
    /// Whether to wait for more. Otherwise the stream ends where the log ends now.
    pub follow: bool,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    pub cursor: Cursor,
    /// How many bytes of the frame at the cursor to skip.
    pub skip: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    pub stdout: bool,
    pub stderr: bool,
    pub system: bool,
}

impl Streams {
    pub const ALL: Self = Self { stdout: true, stderr: true, system: true };
    /// The output of the command.
    pub const OUTPUT: Self = Self { stdout: true, stderr: true, system: false };

    pub(super) fn wants(self, body: &Body) -> bool {
        match body {
            Body::Bytes(Stream::Stdout, _) => self.stdout,
            Body::Bytes(Stream::Stderr, _) => self.stderr,
            Body::Bytes(Stream::System, _) => self.system,
            // It stands for output of either stream.
            Body::Gap(_) => self.stdout || self.stderr,
        }
    }
}
