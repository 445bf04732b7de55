//! Which part of a log somebody wants to read.

use orchestra_contracts::{
    AttemptNo,
    event::Cursor,
    frame::{Body, Stream},
};

/// Which part of a log to read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    pub start: Start,
    pub streams: Streams,
    /// Only this attempt.
    pub attempt: Option<AttemptNo>,
    /// Wait for what comes. Otherwise it ends where the log ends now.
    pub follow: bool,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    pub cursor: Cursor,
    /// So many bytes of the frame at the cursor are not wanted.
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
    /// What the command wrote.
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
