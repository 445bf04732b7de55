//! Limits a job's output. The head passes through as it comes; the tail of the rest is kept in a
//! ring, and the bytes in between are counted. Pure.
//!
//! Head, gap and tail together account for every byte that the job wrote.

use std::{collections::VecDeque, mem, time::Duration};

use orchestra_sandbox::protocol::{Event, MAX_OUTPUT, Stream};

/// Adjacent writes to one stream are merged if no more time lies between them.
const SAME_TIME: Duration = Duration::from_millis(100);

/// The most pieces in the ring. Without this limit, single bytes written to both streams in turn
/// would take thirty times their size. The oldest pieces are dropped first and count as gap.
const MAX_PIECES: usize = 32 << 10;

#[derive(Debug)]
pub(crate) struct Limiter {
    head_left: u64,
    tail_limit: usize,
    /// The bytes of `pieces`, one after the other.
    tail: VecDeque<u8>,
    pieces: VecDeque<Piece>,
    dropped: u64,
    /// When the last dropped byte was written.
    dropped_at: Duration,
}

#[derive(Debug)]
struct Piece {
    stream: Stream,
    at: Duration,
    len: usize,
}

impl Limiter {
    pub(crate) fn new(head: u64, tail: u64) -> Self {
        Self {
            head_left: head,
            tail_limit: usize::try_from(tail).unwrap_or(usize::MAX),
            tail: VecDeque::new(),
            pieces: VecDeque::new(),
            dropped: 0,
            dropped_at: Duration::ZERO,
        }
    }

    /// Returns what passes through at once and keeps the rest. Takes at most [`MAX_OUTPUT`] bytes.
    pub(crate) fn pass<'a>(&mut self, stream: Stream, at: Duration, bytes: &'a [u8]) -> &'a [u8] {
        let left = usize::try_from(self.head_left).unwrap_or(usize::MAX);
        let (through, rest) = bytes.split_at(left.min(bytes.len()));
        self.head_left -= through.len() as u64;
        if !rest.is_empty() {
            self.keep(stream, at, rest);
        }
        through
    }

    /// Returns the gap, if anything was dropped, and the tail.
    pub(crate) fn finish(&mut self) -> impl Iterator<Item = Event> + use<> {
        let gap = Event::Gap { at: self.dropped_at, bytes: self.dropped };
        let mut tail = mem::take(&mut self.tail);
        let kept = mem::take(&mut self.pieces).into_iter().map(move |Piece { stream, at, len }| {
            Event::Output { stream, at, said: 0, bytes: tail.drain(..len).collect() }
        });
        (self.dropped > 0).then_some(gap).into_iter().chain(kept)
    }

    fn keep(&mut self, stream: Stream, at: Duration, bytes: &[u8]) {
        // Make room first, so that the ring never exceeds its limit.
        let (early, bytes) = bytes.split_at(bytes.len().saturating_sub(self.tail_limit));
        self.forget((self.tail.len() + bytes.len()).saturating_sub(self.tail_limit));
        if !early.is_empty() {
            self.dropped += early.len() as u64;
            self.dropped_at = at;
        }
        if bytes.is_empty() {
            return;
        }
        self.tail.extend(bytes);
        match self.pieces.back_mut() {
            Some(last)
                if last.stream == stream
                    && at.saturating_sub(last.at) <= SAME_TIME
                    && last.len + bytes.len() <= MAX_OUTPUT =>
            {
                last.len += bytes.len();
            }
            _ => self.pieces.push_back(Piece { stream, at, len: bytes.len() }),
        }
        if self.pieces.len() > MAX_PIECES {
            self.forget(self.pieces[0].len);
        }
    }

    /// Drops this many of the oldest bytes in the tail.
    fn forget(&mut self, count: usize) {
        self.tail.drain(..count);
        self.dropped += count as u64;
        let mut left = count;
        while left > 0 {
            let oldest = &mut self.pieces[0];
            let cut = left.min(oldest.len);
            oldest.len -= cut;
            left -= cut;
            self.dropped_at = oldest.at;
            if oldest.len == 0 {
                self.pieces.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OUT: Stream = Stream::Stdout;
    const ERR: Stream = Stream::Stderr;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn output(stream: Stream, at: Duration, bytes: &[u8]) -> Event {
        Event::Output { stream, at, said: 0, bytes: bytes.to_vec() }
    }

    fn finish(mut limiter: Limiter) -> Vec<Event> {
        limiter.finish().collect()
    }

    #[test]
    fn what_fits_the_head_goes_through() {
        let mut limiter = Limiter::new(4, 4);
        assert_eq!(limiter.pass(OUT, ms(1), b"ab"), b"ab");
        assert_eq!(limiter.pass(ERR, ms(2), b"cd"), b"cd");
        assert_eq!(finish(limiter), []);
    }

    #[test]
    fn without_a_gap_head_and_tail_follow_each_other() {
        let mut limiter = Limiter::new(3, 4);
        assert_eq!(limiter.pass(OUT, ms(1), b"abcde"), b"abc");
        assert_eq!(limiter.pass(ERR, ms(2), b"fg"), b"");
        assert_eq!(finish(limiter), [output(OUT, ms(1), b"de"), output(ERR, ms(2), b"fg")]);
    }

    #[test]
    fn the_middle_is_dropped_and_counted() {
        let mut limiter = Limiter::new(2, 3);
        limiter.pass(OUT, ms(1), b"abcd");
        limiter.pass(ERR, ms(200), b"ef");
        limiter.pass(OUT, ms(400), b"g");
        let gap = Event::Gap { at: ms(1), bytes: 2 };
        assert_eq!(finish(limiter), [gap, output(ERR, ms(200), b"ef"), output(OUT, ms(400), b"g")]);
    }

    #[test]
    fn a_write_longer_than_the_tail_keeps_its_end() {
        let mut limiter = Limiter::new(0, 3);
        limiter.pass(OUT, ms(1), b"ab");
        limiter.pass(OUT, ms(2), b"cdefgh");
        assert_eq!(
            finish(limiter),
            [Event::Gap { at: ms(2), bytes: 5 }, output(OUT, ms(2), b"fgh")]
        );
    }

    #[test]
    fn no_tail_at_all_is_a_gap_only() {
        let mut limiter = Limiter::new(1, 0);
        assert_eq!(limiter.pass(OUT, ms(1), b"abc"), b"a");
        assert_eq!(finish(limiter), [Event::Gap { at: ms(1), bytes: 2 }]);
    }

    #[test]
    fn neighbours_become_one_piece_when_they_are_near() {
        let mut limiter = Limiter::new(0, 100);
        for (stream, at, bytes) in
            [(OUT, 0, b"a"), (OUT, 100, b"b"), (OUT, 101, b"c"), (ERR, 101, b"d"), (OUT, 101, b"e")]
        {
            limiter.pass(stream, ms(at), bytes);
        }
        let kept = [
            output(OUT, ms(0), b"ab"),
            output(OUT, ms(101), b"c"),
            output(ERR, ms(101), b"d"),
            output(OUT, ms(101), b"e"),
        ];
        assert_eq!(finish(limiter), kept);
    }

    #[test]
    fn pieces_are_bounded_though_streams_take_turns_at_every_byte() {
        let mut limiter = Limiter::new(0, 1 << 20);
        for turn in 0..100_000 {
            limiter.pass(if turn % 2 == 0 { OUT } else { ERR }, ms(0), b"x");
            assert!(limiter.pieces.len() <= MAX_PIECES);
        }
        let events = finish(limiter);
        assert_eq!(events.len(), MAX_PIECES + 1);
        assert_eq!(events[0], Event::Gap { at: ms(0), bytes: 100_000 - MAX_PIECES as u64 });
    }

    proptest! {
        #[test]
        fn head_gap_and_tail_are_every_byte(
            head in 0_u64..40,
            tail in 0_u64..40,
            writes in prop::collection::vec((any::<bool>(), 0_u64..300, 1_usize..30), 0..20),
        ) {
            let mut limiter = Limiter::new(head, tail);
            let (mut written, mut through) = (Vec::new(), Vec::new());
            let mut now = Duration::ZERO;
            for (error, later, len) in writes {
                now += ms(later);
                let bytes: Vec<_> = (written.len()..written.len() + len).map(|n| n as u8).collect();
                let stream = if error { ERR } else { OUT };
                through.extend_from_slice(limiter.pass(stream, now, &bytes));
                written.extend_from_slice(&bytes);
            }
            let (mut dropped, mut kept, mut last) = (0, Vec::new(), Duration::ZERO);
            for event in finish(limiter) {
                let at = match event {
                    Event::Gap { at, bytes } => {
                        prop_assert!(dropped == 0 && kept.is_empty() && bytes > 0);
                        dropped = bytes as usize;
                        at
                    }
                    Event::Output { at, bytes, .. } => {
                        kept.extend_from_slice(&bytes);
                        at
                    }
                    other => panic!("{other:?} is no output"),
                };
                prop_assert!(last <= at);
                last = at;
            }
            prop_assert_eq!(through.len(), written.len().min(head as usize));
            let rest = written.len() - through.len();
            prop_assert_eq!(kept.len(), rest.min(tail as usize));
            prop_assert_eq!(dropped, rest - kept.len());
            prop_assert_eq!(&written[..through.len()], &through[..]);
            prop_assert_eq!(&written[written.len() - kept.len()..], &kept[..]);
        }
    }
}
