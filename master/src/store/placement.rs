//! Where an upload goes in a log that is stored in part.

use bytes::Bytes;
use orchestra_contracts::{
    frame::{Body, Frame, Frames, Stream},
    worker::LogHead,
};

use super::LogChunk;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// All of it is stored already.
    Known,
    /// This part of it is new; the log then ends here.
    New { chunk: LogChunk, head: LogHead },
    /// It leaves a hole, or the stored log does not end at the edge of one of its frames.
    Misplaced,
}

/// Places `frames`, which begin at `offset`, behind `head`.
pub(super) fn place(head: LogHead, offset: u64, frames: &Bytes) -> Placement {
    if offset > head.offset {
        return Placement::Misplaced;
    }
    // Walk over what is stored already; what is new begins on the edge of a frame.
    let known = head.offset - offset;
    let mut edge = 0;
    let mut walk = Frames::new(frames.clone());
    while edge < known {
        match walk.next() {
            Some(Ok(frame)) => edge += frame.encoded_len() as u64,
            Some(Err(_)) => return Placement::Misplaced,
            None => return Placement::Known,
        }
    }
    if edge > known {
        return Placement::Misplaced;
    }
    if edge == frames.len() as u64 {
        return Placement::Known;
    }
    let mut tally = Tally::new(head, frames.slice(edge as usize..));
    for frame in walk {
        match frame {
            Ok(frame) => tally.add(&frame),
            Err(_) => return Placement::Misplaced,
        }
    }
    tally.done()
}

/// Where the log ends with these frames; `None` if they do not fit.
pub fn head_after(head: LogHead, offset: u64, frames: &Bytes) -> Option<LogHead> {
    match place(head, offset, frames) {
        Placement::Known => Some(head),
        Placement::New { head, .. } => Some(head),
        Placement::Misplaced => None,
    }
}

/// Counts the bytes of new frames, by stream.
struct Tally {
    chunk: LogChunk,
    head: LogHead,
    crc: crc32fast::Hasher,
}

impl Tally {
    fn new(head: LogHead, frames: Bytes) -> Self {
        Self {
            chunk: LogChunk { offset: head.offset, stdout: 0, stderr: 0, system: 0, frames },
            crc: crc32fast::Hasher::new_with_initial_len(head.crc32, head.output),
            head,
        }
    }

    fn add(&mut self, frame: &Frame) {
        match &frame.body {
            Body::Bytes(Stream::System, line) => self.chunk.system += line.len() as u64,
            Body::Bytes(Stream::Stdout, bytes) => {
                self.chunk.stdout += bytes.len() as u64;
                self.crc.update(bytes);
            }
            Body::Bytes(Stream::Stderr, bytes) => {
                self.chunk.stderr += bytes.len() as u64;
                self.crc.update(bytes);
            }
            Body::Gap(bytes) => self.head.gap = self.head.gap.saturating_add(*bytes),
        }
    }

    fn done(self) -> Placement {
        let Self { chunk, head, crc } = self;
        let head = LogHead {
            offset: head.offset + chunk.frames.len() as u64,
            output: head.output + chunk.stdout + chunk.stderr,
            gap: head.gap,
            crc32: crc.finalize(),
        };
        Placement::New { chunk, head }
    }
}
