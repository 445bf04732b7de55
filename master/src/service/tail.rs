//! Finds the last bytes of an attempt's output by reading its log backwards.

use bytes::Bytes;
use orchestra_contracts::{
    AttemptNo, JobId,
    frame::{Body, Frame, Frames, Stream},
    worker::LogHead,
};

use crate::{
    domain::Tail,
    store::{LogAppend, Order, Store, StoreError, head_after},
};

/// How many bytes of each stream are shown with a job.
const TAIL: usize = 64 * 1024;
/// Chunks read at once.
const PAGE: u32 = 8;
/// Where the search begins. Offsets are BIGINT columns.
const OPEN_END: u64 = i64::MAX as u64;

/// How far back an ended attempt is searched, once in its life, for the last bytes of a stream that
/// has long been silent. In bytes.
pub(super) const THOROUGH: u64 = 64 << 20;
/// The same for a running attempt, at every look.
pub(super) const QUICK: u64 = 1 << 20;

/// The tail of an attempt, from the last `bound` bytes of its log. `head` is the size of the stored
/// log.
pub(super) async fn of(
    store: &dyn Store,
    id: JobId,
    attempt: AttemptNo,
    head: LogHead,
    bound: u64,
) -> Result<Tail, StoreError> {
    Found::default().before(OPEN_END, store, id, attempt, head, bound).await
}

/// The tail of a log that is about to end with this rest, some of which may be stored already;
/// `None` if the rest does not fit.
pub(super) async fn with_rest(
    store: &dyn Store,
    head: LogHead,
    rest: &LogAppend,
    bound: u64,
) -> Result<Option<Tail>, StoreError> {
    let LogAppend { job, attempt, offset, frames, .. } = rest;
    let Some(head) = head_after(head, *offset, frames) else { return Ok(None) };
    let mut found = Found::default();
    found.add(frames);
    found.before(*offset, store, *job, *attempt, head, bound).await.map(Some)
}

/// The tail of a log that consists of this rest alone.
pub(super) fn of_whole(frames: &Bytes) -> Tail {
    let head = head_after(LogHead::default(), 0, frames).unwrap_or_default();
    let mut found = Found::default();
    found.add(frames);
    found.tail(head)
}

#[derive(Default)]
struct Found {
    stdout: Last,
    stderr: Last,
    searched: u64,
}

impl Found {
    /// Reads stored chunks before `end`, as far as needed.
    async fn before(
        mut self,
        mut end: u64,
        store: &dyn Store,
        id: JobId,
        attempt: AttemptNo,
        head: LogHead,
        bound: u64,
    ) -> Result<Tail, StoreError> {
        while self.taken() < head.output && !self.is_full() && self.searched < bound {
            let chunks = store.log_chunks(id, attempt, 0..end, Order::Descending, PAGE).await?;
            for chunk in &chunks {
                // A rest may begin within one, where it was sent in other pieces before.
                let length = (end - chunk.offset).min(chunk.frames.len() as u64) as usize;
                self.add(&chunk.frames.slice(..length));
                end = chunk.offset;
            }
            if chunks.is_empty() || end == 0 {
                break;
            }
        }
        Ok(self.tail(head))
    }

    fn tail(&self, head: LogHead) -> Tail {
        let truncated = head.gap > 0 || self.taken() < head.output;
        Tail { output: self.stdout.text(), error: self.stderr.text(), truncated }
    }

    /// Takes what is needed of a chunk, which precedes all earlier ones.
    fn add(&mut self, frames: &Bytes) {
        self.searched += frames.len() as u64;
        let frames: Vec<Frame> = Frames::new(frames.clone()).map_while(Result::ok).collect();
        for frame in frames.into_iter().rev() {
            match frame.body {
                Body::Bytes(Stream::Stdout, bytes) => self.stdout.add(&bytes),
                Body::Bytes(Stream::Stderr, bytes) => self.stderr.add(&bytes),
                Body::Bytes(Stream::System, _) | Body::Gap(_) => {}
            }
        }
    }

    fn taken(&self) -> u64 {
        (self.stdout.length + self.stderr.length) as u64
    }

    fn is_full(&self) -> bool {
        self.stdout.length == TAIL && self.stderr.length == TAIL
    }
}

/// The pieces of one stream, last one first; at most [`TAIL`] bytes.
#[derive(Default)]
struct Last {
    pieces: Vec<Bytes>,
    length: usize,
}

impl Last {
    fn add(&mut self, bytes: &Bytes) {
        let wanted = bytes.len().min(TAIL - self.length);
        if wanted > 0 {
            self.pieces.push(bytes.slice(bytes.len() - wanted..));
            self.length += wanted;
        }
    }

    fn text(&self) -> String {
        let bytes: Vec<u8> = self.pieces.iter().rev().flatten().copied().collect();
        lossy(&bytes, self.length == TAIL)
    }
}

/// The text, at most [`TAIL`] bytes. A character that is cut at the start is left out.
fn lossy(bytes: &[u8], cut: bool) -> String {
    let is_continuation = |byte: &&u8| (0x80..0xC0).contains(*byte);
    let torn = if cut { bytes.iter().take(3).take_while(is_continuation).count() } else { 0 };
    let text = String::from_utf8_lossy(&bytes[torn..]);
    // A replacement character is longer than the byte that it stands for.
    let surplus = text.len().saturating_sub(TAIL);
    text[text.ceil_char_boundary(surplus)..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_not_torn() {
        let bytes = "é".repeat(TAIL);
        let mut last = Last::default();
        last.add(&Bytes::from(bytes.as_bytes()[1..].to_vec()));
        assert_eq!(last.text(), "é".repeat(TAIL / 2));
    }

    #[test]
    fn replaced_bytes_do_not_make_it_longer() {
        let mut last = Last::default();
        last.add(&Bytes::from(vec![0xFF; TAIL]));
        assert_eq!(last.text(), "\u{FFFD}".repeat(TAIL / 3));
    }

    #[test]
    fn the_last_bytes_are_kept_in_order() {
        let mut last = Last::default();
        last.add(&Bytes::from_static(b"world"));
        last.add(&Bytes::from_static(b"hello "));
        assert_eq!(last.text(), "hello world");
    }
}
