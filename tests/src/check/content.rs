//! What commands write and what logs hold, and the comparison of the two.

use std::borrow::Cow;

use bytes::Bytes;
use orchestra_contracts::{
    event::LogEvent,
    frame::{Body, Stream},
};
use serde::{Deserialize, Serialize};

/// The output of a command on one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Text {
    /// `line 1` to `line {count}`, each followed by a line feed.
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

/// The output of a command. The order between the two streams is not specified.
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

/// A piece of a stored log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Piece {
    Bytes(Stream, Bytes),
    Gap(u64),
}

impl Piece {
    /// The piece carried by an event of the log stream; `None` when it is malformed.
    pub fn of(event: &LogEvent) -> Option<Self> {
        Some(match event.frame()?.body {
            Body::Bytes(stream, bytes) => Self::Bytes(stream, bytes),
            Body::Gap(bytes) => Self::Gap(bytes),
        })
    }
}

/// The total number of bytes of standard output and standard error.
pub(super) fn length(log: &[Piece]) -> u64 {
    log.iter().filter_map(Piece::output).map(|(_, bytes)| bytes.len() as u64).sum()
}

impl Piece {
    /// The command's own output; `None` for gaps and system lines.
    fn output(&self) -> Option<(Stream, &Bytes)> {
        match self {
            Self::Bytes(Stream::System, _) | Self::Gap(_) => None,
            Self::Bytes(stream, bytes) => Some((*stream, bytes)),
        }
    }
}

/// How a log differs from a prefix of the expected output, or from all of it when the log must be
/// `whole`. `None` when it agrees.
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
        // A gap does not say how many of its bytes belong to which stream.
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
