//! What the event streams carry (`text/event-stream`, WHATWG HTML section 9.2).
//!
//! `GET /api/job/{id}/log` sends three kinds of event: `log` ([`LogEvent`]), `state`
//! ([`Job`](crate::Job), whenever its status changes) and a final `end` ([`Job`](crate::Job) in its
//! final state). The id of each is a [`Cursor`].

use std::{fmt, str::FromStr};

use base64::prelude::{BASE64_STANDARD, Engine};
use serde::{Deserialize, Serialize};

use crate::{
    AttemptNo,
    frame::{Body, Frame, Stream},
};

pub const LOG: &str = "log";
pub const STATE: &str = "state";
pub const END: &str = "end";

/// A position in a job's log: everything of the attempt before `offset` has been read. Written
/// `2-4096`, it is the value of `Last-Event-ID`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// 0 means before the first attempt.
    pub attempt: u32,
    pub offset: u64,
}

impl Cursor {
    pub fn start_of(attempt: AttemptNo) -> Self {
        Self { attempt: attempt.0, offset: 0 }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.attempt, self.offset)
    }
}

impl FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (attempt, offset) = text.split_once('-')?;
            Some(Self { attempt: attempt.parse().ok()?, offset: offset.parse().ok()? })
        };
        parse().ok_or("a log position is written like 1-4096")
    }
}

/// One frame of the log. An event stream cannot carry a carriage return unchanged, so the bytes
/// travel in JSON: as text if they are UTF-8, as base64 otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogEvent {
    pub attempt: AttemptNo,
    /// Microseconds since 1970, by the worker's clock.
    pub time: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<Stream>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// The number of bytes that were dropped here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<u64>,
}

impl LogEvent {
    pub fn new(attempt: AttemptNo, frame: &Frame) -> Self {
        let mut event =
            Self { attempt, time: frame.time, stream: None, text: None, base64: None, gap: None };
        match &frame.body {
            Body::Gap(bytes) => event.gap = Some(*bytes),
            Body::Bytes(stream, bytes) => {
                event.stream = Some(*stream);
                match std::str::from_utf8(bytes) {
                    Ok(text) => event.text = Some(text.to_owned()),
                    Err(_) => event.base64 = Some(BASE64_STANDARD.encode(bytes)),
                }
            }
        }
        event
    }

    /// Converts back to a frame; `None` if the event is not one that [`LogEvent::new`] makes.
    pub fn frame(&self) -> Option<Frame> {
        let body = match (self.stream, &self.text, &self.base64, self.gap) {
            (Some(stream), Some(text), None, None) => {
                Body::Bytes(stream, text.clone().into_bytes().into())
            }
            (Some(stream), None, Some(base64), None) => {
                Body::Bytes(stream, BASE64_STANDARD.decode(base64).ok()?.into())
            }
            (None, None, None, Some(bytes)) => Body::Gap(bytes),
            _ => return None,
        };
        Some(Frame { time: self.time, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_the_event() {
        for bytes in [&b"plain\r\n\ttext"[..], b"\xff\xfe\x00", "Grüße".as_bytes(), b""] {
            let frame = Frame { time: 7, body: Body::Bytes(Stream::Stderr, bytes.to_vec().into()) };
            let json = serde_json::to_string(&LogEvent::new(AttemptNo(1), &frame)).unwrap();
            let back: LogEvent = serde_json::from_str(&json).unwrap();
            assert_eq!(back.frame(), Some(frame), "{json}");
            assert!(!json.contains('\r'));
        }
    }

    #[test]
    fn cursors_are_read_as_they_are_written() {
        let cursor = Cursor { attempt: 2, offset: 4096 };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for text in ["", "1", "-", "1-x", "1--2", "a-1"] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }
}
