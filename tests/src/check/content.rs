//! What commands write and what logs hold, and whether the one is the other.

use std::borrow::Cow;

use bytes::Bytes;
use orchestra_contracts::{
    event::LogEvent,
    frame::{Body, Stream},
};
use serde::{Deserialize, Serialize};

/// What a command writes to one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Text {
    /// `line 1` to `line {count}`, each with its line feed.
    Lines(u64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Default for Text {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl Text {
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Lines(count) => {
                let mut text = String::new();
                for number in 1..=*count {
                    text.push_str("line ");
                    text.push_str(&number.to_string());
                    text.push('\n');
                }
                text.into_bytes().into()
            }
            Self::Text(text) => text.as_bytes().into(),
            Self::Bytes(bytes) => bytes.into(),
        }
    }
}

/// What a command writes. In which order it writes to its two streams is not told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    pub stdout: Text,
    pub stderr: Text,
}

impl Content {
    pub fn stdout(text: Text) -> Self {
        Self { stdout: text, stderr: Text::default() }
    }
}

/// A part of a stored log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Piece {
    Bytes(Stream, Bytes),
    Gap(u64),
}

impl Piece {
    /// The piece that an event of the log's stream carries; `None` when it is not well formed.
    pub fn of(event: &LogEvent) -> Option<Self> {
        Some(match event.frame()?.body {
            Body::Bytes(stream, bytes) => Self::Bytes(stream, bytes),
            Body::Gap(bytes) => Self::Gap(bytes),
        })
    }
}

/// The bytes of standard output and standard error together.
pub(super) fn length(log: &[Piece]) -> u64 {
    log.iter().filter_map(Piece::output).map(|(_, bytes)| bytes.len() as u64).sum()
}

impl Piece {
    /// What the command wrote, where it is that: not a gap, not a line of ours.
    fn output(&self) -> Option<(Stream, &Bytes)> {
        match self {
            Self::Bytes(Stream::System, _) | Self::Gap(_) => None,
            Self::Bytes(stream, bytes) => Some((*stream, bytes)),
        }
    }
}

/// Says in what a log differs from a beginning of what was written, or from all of
/// it when it has to be `whole`.
pub(super) fn difference(
    log: &[Piece],
    stdout: &[u8],
    stderr: &[u8],
    whole: bool,
) -> Option<String> {
    let gaps: u64 = log.iter().map(|piece| if let Piece::Gap(n) = piece { *n } else { 0 }).sum();
    let (stored, written) = (length(log), (stdout.len() + stderr.len()) as u64);
    if stored + gaps > written {
        return Some(format!("{stored} bytes and gaps of {gaps}, but {written} were written"));
    }
    if whole && stored + gaps < written {
        return Some(format!("{stored} bytes and gaps of {gaps} of {written} that were written"));
    }
    let written = [(Stream::Stdout, stdout), (Stream::Stderr, stderr)];
    let one_stream = stdout.is_empty() || stderr.is_empty();
    written.into_iter().find_map(|(stream, written)| {
        // A gap does not say how much of it was of which stream.
        let sizes_are_known = one_stream || gaps == 0;
        compare(log, stream, written, sizes_are_known)
    })
}

fn compare(log: &[Piece], stream: Stream, written: &[u8], exact: bool) -> Option<String> {
    let mut place = 0;
    let mut left_out = 0;
    for piece in log {
        if let Piece::Gap(bytes) = piece {
            left_out += *bytes as usize;
            continue;
        }
        let Some((_, bytes)) = piece.output().filter(|(of, _)| *of == stream) else { continue };
        let (from, room) = if exact { (place + left_out, 0) } else { (place, left_out) };
        let found = (from..=from + room)
            .find(|at| written.get(*at..).is_some_and(|rest| rest.starts_with(bytes)));
        let Some(found) = found else {
            return Some(format!(
                "{} of {} differs from what was written at byte {from}: {:?}",
                bytes.len(),
                stream.as_str(),
                String::from_utf8_lossy(&bytes[..bytes.len().min(60)]),
            ));
        };
        place = found + bytes.len();
        left_out = 0;
    }
    None
}
