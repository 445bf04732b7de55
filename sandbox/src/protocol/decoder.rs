//! Assembles messages from bytes as they arrive.

use std::{fmt, io};

use super::{MAX_PAYLOAD, payload::HEADER};

/// The content of a frame: [`Command`](super::Command) or [`Event`](super::Event).
pub trait Message: Sized {
    /// Appends the whole frame to `buffer`.
    fn encode(&self, buffer: &mut Vec<u8>);
    /// Decodes the payload of a frame of this kind.
    fn decode(kind: u8, payload: &[u8]) -> Result<Self, Malformed>;
}

/// Collects bytes as they arrive and returns complete messages.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Position of the first byte that has not been returned yet.
    start: usize,
    given: u64,
}

impl Decoder {
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Total length of all frames that were returned.
    pub fn given(&self) -> u64 {
        self.given
    }

    /// The next complete message; `None` until more bytes arrive.
    #[expect(clippy::should_implement_trait, reason = "the caller says which message it expects")]
    pub fn next<M: Message>(&mut self) -> Result<Option<M>, Malformed> {
        let bytes = &self.buffer[self.start..];
        let Some((&[kind, ref length @ ..], rest)) = bytes.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length);
        if length as usize > MAX_PAYLOAD {
            return Err(Malformed::TooLong(length));
        }
        let Some(&end) = rest.get(length as usize) else {
            return Ok(None);
        };
        if end != b'\n' {
            return Err(Malformed::NoLineFeed);
        }
        let message = M::decode(kind, &rest[..length as usize])?;
        let frame = HEADER + length as usize + 1;
        self.start += frame;
        self.given += frame as u64;
        Ok(Some(message))
    }
}

/// Why bytes are not a frame. The rest of the stream cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    UnknownKind(u8),
    TooLong(u32),
    NoLineFeed,
    /// The payload has the wrong length or form for its kind.
    BadPayload(u8),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKind(kind) => write!(f, "there is no frame kind {kind}"),
            Self::TooLong(length) => write!(f, "a frame of {length} bytes is over the limit"),
            Self::NoLineFeed => f.write_str("a frame does not end in a line feed"),
            Self::BadPayload(kind) => {
                write!(f, "a frame of kind {kind} has a payload that cannot be read")
            }
        }
    }
}

impl std::error::Error for Malformed {}

impl From<Malformed> for io::Error {
    fn from(error: Malformed) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}
