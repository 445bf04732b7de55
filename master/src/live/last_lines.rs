//! Finds where the last lines of a log begin, by reading it backwards.

use std::{mem, ops::RangeInclusive};

use orchestra_contracts::{
    AttemptNo, JobId,
    event::Cursor,
    frame::{Body, Frame, Frames},
};

use super::{Start, Streams};
use crate::store::{LogChunk, Order, Store, StoreError};

/// Chunks read at once.
const PAGE: u32 = 8;
/// Offsets are BIGINT columns.
const OPEN_END: u64 = i64::MAX as u64;

/// The position of the last `lines` lines that these streams show, over all these attempts; the
/// very beginning if there are fewer.
pub async fn last_lines(
    store: &dyn Store,
    id: JobId,
    attempts: RangeInclusive<u32>,
    streams: Streams,
    lines: u64,
) -> Result<Start, StoreError> {
    let (first, last) = (AttemptNo(*attempts.start()), AttemptNo(*attempts.end()));
    if lines == 0 {
        let head = store.log_head(id, last).await?.unwrap_or_default();
        let cursor = Cursor { attempt: last.0, offset: head.offset };
        return Ok(Start { cursor, skip: 0 });
    }
    let mut count = Count { streams, left: lines, at_end: true };
    for attempt in attempts.rev().map(AttemptNo) {
        let mut end = OPEN_END;
        while end > 0 {
            let chunks = store.log_chunks(id, attempt, 0..end, Order::Descending, PAGE).await?;
            let Some(earliest) = chunks.last() else { break };
            end = earliest.offset;
            if let Some((offset, skip)) = chunks.into_iter().find_map(|chunk| count.chunk(chunk)) {
                return Ok(Start { cursor: Cursor { attempt: attempt.0, offset }, skip });
            }
        }
    }
    Ok(Start { cursor: Cursor::start_of(first), skip: 0 })
}

/// Counts lines backwards from the end.
struct Count {
    streams: Streams,
    left: u64,
    /// No byte was seen yet: a line feed here ends the last line and does not begin one.
    at_end: bool,
}

impl Count {
    /// The offset of the frame in which the first line begins, and the bytes to skip in it.
    fn chunk(&mut self, chunk: LogChunk) -> Option<(u64, usize)> {
        let mut end = chunk.offset + chunk.frames.len() as u64;
        let frames: Vec<Frame> = Frames::new(chunk.frames).map_while(Result::ok).collect();
        for frame in frames.into_iter().rev() {
            let begin = end - frame.encoded_len() as u64;
            let found = match &frame.body {
                body if !self.streams.wants(body) => None,
                Body::Bytes(_, bytes) => self.bytes(bytes).map(|skip| (begin, skip)),
                Body::Gap(_) => self.gap(begin, end).map(|offset| (offset, 0)),
            };
            if found.is_some() {
                return found;
            }
            end = begin;
        }
        None
    }

    fn bytes(&mut self, bytes: &[u8]) -> Option<usize> {
        for (position, byte) in bytes.iter().enumerate().rev() {
            let is_inner = !mem::take(&mut self.at_end);
            if *byte == b'\n' && is_inner && self.is_first_wanted() {
                return Some(position + 1);
            }
        }
        None
    }

    /// Counts a gap, which is shown as a line of its own, so another begins after it.
    fn gap(&mut self, begin: u64, end: u64) -> Option<u64> {
        if !mem::replace(&mut self.at_end, true) && self.is_first_wanted() {
            return Some(end);
        }
        self.is_first_wanted().then_some(begin)
    }

    /// Counts a line.
    fn is_first_wanted(&mut self) -> bool {
        self.left -= 1;
        self.left == 0
    }
}
