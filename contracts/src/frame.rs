//! The log format, on the wire and in the store.
//!
//! An attempt's log is one sequence of frames. Offsets count the bytes of the encoded sequence, so
//! they always fall on a frame boundary.
//!
//! ```text
//! kind u8 | time u64 le, microseconds since 1970 | length u32 le | payload
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Where a frame's bytes came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    Stdout,
    Stderr,
    /// Orchestra's own messages about the attempt, one line per frame.
    System,
}

/// One piece of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// When the worker read it from the command, by the worker's clock, in microseconds since 1970.
    pub time: u64,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    Bytes(Stream, Bytes),
    /// The number of output bytes that were dropped here because the log exceeded its limit.
    Gap(u64),
}

/// Length of a frame's header, in bytes.
pub const HEADER: usize = 13;
/// The longest payload a frame may have.
pub const MAX_PAYLOAD: usize = 64 * 1024;

const GAP: u8 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The bytes end in the middle of a frame.
    Cut,
    UnknownKind(u8),
    TooLong(u32),
    /// The payload of a gap frame is not a number.
    BadGap,
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cut => f.write_str("the bytes end within a frame"),
            Self::UnknownKind(kind) => write!(f, "there is no frame kind {kind}"),
            Self::TooLong(length) => {
                write!(f, "a frame of {length} bytes is over the limit of {MAX_PAYLOAD}")
            }
            Self::BadGap => f.write_str("a gap frame does not hold a number of 8 bytes"),
        }
    }
}

impl std::error::Error for FrameError {}

impl Stream {
    fn kind(self) -> u8 {
        match self {
            Self::Stdout => 1,
            Self::Stderr => 2,
            Self::System => 3,
        }
    }

    fn from_kind(kind: u8) -> Option<Self> {
        [Self::Stdout, Self::Stderr, Self::System].into_iter().find(|stream| stream.kind() == kind)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::System => "system",
        }
    }
}

impl Frame {
    /// Length of the encoded frame.
    pub fn encoded_len(&self) -> usize {
        HEADER
            + match &self.body {
                Body::Bytes(_, bytes) => bytes.len(),
                Body::Gap(_) => 8,
            }
    }

    /// Appends the frame to `buffer`.
    ///
    /// # Panics
    /// When the payload is longer than [`MAX_PAYLOAD`]. The caller has to split it.
    pub fn encode(&self, buffer: &mut BytesMut) {
        match &self.body {
            Body::Bytes(stream, bytes) => {
                assert!(bytes.len() <= MAX_PAYLOAD, "a frame holds at most {MAX_PAYLOAD} bytes");
                put_header(buffer, stream.kind(), self.time, bytes.len());
                buffer.put_slice(bytes);
            }
            Body::Gap(bytes) => {
                put_header(buffer, GAP, self.time, 8);
                buffer.put_u64_le(*bytes);
            }
        }
    }
}

fn put_header(buffer: &mut BytesMut, kind: u8, time: u64, length: usize) {
    buffer.put_u8(kind);
    buffer.put_u64_le(time);
    buffer.put_u32_le(length as u32);
}

/// Decodes one frame after another; stops after the first error.
#[derive(Clone, Debug)]
pub struct Frames(Bytes);

impl Frames {
    /// Payloads are slices of `bytes`, not copies.
    pub fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    fn read(&mut self) -> Result<Frame, FrameError> {
        let mut header = self.0.get(..HEADER).ok_or(FrameError::Cut)?;
        let (kind, time, length) = (header.get_u8(), header.get_u64_le(), header.get_u32_le());
        if length as usize > MAX_PAYLOAD {
            return Err(FrameError::TooLong(length));
        }
        if self.0.len() < HEADER + length as usize {
            return Err(FrameError::Cut);
        }
        self.0.advance(HEADER);
        let payload = self.0.split_to(length as usize);
        let body = match (kind, Stream::from_kind(kind)) {
            (_, Some(stream)) => Body::Bytes(stream, payload),
            (GAP, None) => {
                let number = payload.as_ref().try_into().map_err(|_| FrameError::BadGap)?;
                Body::Gap(u64::from_le_bytes(number))
            }
            _ => return Err(FrameError::UnknownKind(kind)),
        };
        Ok(Frame { time, body })
    }
}

impl Iterator for Frames {
    type Item = Result<Frame, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let frame = self.read();
        if frame.is_err() {
            self.0.clear();
        }
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_frame() -> impl Strategy<Value = Frame> {
        let stream = prop_oneof![Just(Stream::Stdout), Just(Stream::Stderr), Just(Stream::System)];
        let body = prop_oneof![
            (stream, proptest::collection::vec(any::<u8>(), 0..200))
                .prop_map(|(stream, bytes)| Body::Bytes(stream, bytes.into())),
            any::<u64>().prop_map(Body::Gap),
        ];
        (any::<u64>(), body).prop_map(|(time, body)| Frame { time, body })
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(frames in proptest::collection::vec(any_frame(), 0..20)) {
            let mut buffer = BytesMut::new();
            for frame in &frames {
                frame.encode(&mut buffer);
            }
            prop_assert_eq!(buffer.len(), frames.iter().map(Frame::encoded_len).sum::<usize>());
            let read: Result<Vec<_>, _> = Frames::new(buffer.freeze()).collect();
            prop_assert_eq!(read, Ok(frames));
        }

        #[test]
        fn any_bytes_end_in_frames_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Frames::new(bytes.into()).count();
        }
    }

    /// Offsets count encoded bytes, so decoding and encoding again must give the same length.
    #[test]
    fn a_gap_holds_a_number_and_nothing_more() {
        for (payload, is_gap) in [(&[0; 7][..], false), (&[0; 8], true), (&[0; 9], false)] {
            let mut buffer = BytesMut::new();
            put_header(&mut buffer, GAP, 1, payload.len());
            buffer.put_slice(payload);
            let first = Frames::new(buffer.freeze()).next().unwrap();
            assert_eq!(first.is_ok(), is_gap, "{first:?}");
        }
    }

    #[test]
    fn a_cut_frame_is_an_error_and_the_end() {
        let mut buffer = BytesMut::new();
        Frame { time: 1, body: Body::Gap(7) }.encode(&mut buffer);
        let mut frames = Frames::new(buffer.freeze().slice(..20));
        assert_eq!(frames.next(), Some(Err(FrameError::Cut)));
        assert_eq!(frames.next(), None);
    }
}
