//! The place in an attempt's log where one worker process stopped and the next
//! goes on.
//!
//! Output is counted exactly, byte by byte. Notes have no place in that count: one
//! that stands right at the seam counts as stored when the stored log is long
//! enough to hold it.

use orchestra_contracts::{
    frame::{Body, Frame, Stream},
    worker::LogHead,
};

/// Tells what of an attempt's log is new, from its beginning on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seam {
    /// So many bytes of output, and of gaps in it, are still to be passed over.
    left: u64,
    /// Encoded bytes of the stored log that what came so far does not account for.
    unaccounted: u64,
}

impl Seam {
    pub(super) fn after(stored: LogHead) -> Self {
        Self { left: stored.output + stored.gap, unaccounted: stored.offset }
    }

    /// Whether all that is stored has come by.
    pub(super) fn is_reached(&self) -> bool {
        self.left == 0
    }

    /// What of the frame is not stored yet.
    pub(super) fn rest_of(&mut self, mut frame: Frame) -> Option<Frame> {
        let encoded = frame.encoded_len() as u64;
        let known = match &mut frame.body {
            Body::Bytes(Stream::System, _) => self.left > 0 || encoded <= self.unaccounted,
            Body::Bytes(_, bytes) => {
                let known = self.left.min(bytes.len() as u64);
                self.left -= known;
                drop(bytes.split_to(known as usize));
                bytes.is_empty()
            }
            Body::Gap(bytes) => {
                let known = self.left.min(*bytes);
                self.left -= known;
                *bytes -= known;
                *bytes == 0
            }
        };
        self.unaccounted = if known { self.unaccounted.saturating_sub(encoded) } else { 0 };
        (!known).then_some(frame)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn text(stream: Stream, text: &'static str) -> Frame {
        Frame { time: 1, body: Body::Bytes(stream, text.as_bytes().into()) }
    }

    fn all() -> Vec<Frame> {
        vec![
            text(Stream::Stdout, "ab"),
            text(Stream::System, "note 1\n"),
            text(Stream::Stderr, "cd"),
            Frame { time: 1, body: Body::Gap(10) },
            text(Stream::Stdout, "ef"),
            text(Stream::System, "note 2\n"),
            text(Stream::System, "note 3\n"),
        ]
    }

    fn head(stored: &[Frame]) -> LogHead {
        let mut head = LogHead::default();
        for frame in stored {
            head.offset += frame.encoded_len() as u64;
            match &frame.body {
                Body::Bytes(Stream::System, _) => (),
                Body::Bytes(_, bytes) => head.output += bytes.len() as u64,
                Body::Gap(bytes) => head.gap += bytes,
            }
        }
        head
    }

    #[rstest]
    fn what_follows_the_stored_frames_is_new(#[values(0, 1, 2, 3, 4, 5, 6, 7)] stored: usize) {
        let mut seam = Seam::after(head(&all()[..stored]));
        let new: Vec<_> = all().into_iter().filter_map(|frame| seam.rest_of(frame)).collect();
        assert_eq!(new, all()[stored..]);
        assert!(seam.is_reached());
    }

    /// As when the image was built for this very attempt.
    #[test]
    fn notes_from_before_the_job_lose_no_output() {
        let mut stored = vec![text(Stream::System, "building\n")];
        stored.extend(all().into_iter().take(3));
        let mut seam = Seam::after(head(&stored));
        let new: Vec<_> = all().into_iter().filter_map(|frame| seam.rest_of(frame)).collect();
        assert_eq!(new, all()[3..]);
    }

    #[test]
    fn a_frame_is_cut_where_the_seam_is() {
        let mut seam = Seam::after(LogHead { offset: 14, output: 1, ..LogHead::default() });
        let rest = seam.rest_of(text(Stream::Stdout, "abc")).unwrap();
        assert_eq!(rest, text(Stream::Stdout, "bc"));
        let mut seam = Seam::after(LogHead { output: 5, ..LogHead::default() });
        assert_eq!(seam.rest_of(text(Stream::Stdout, "abc")), None);
        assert!(!seam.is_reached());
    }
}
