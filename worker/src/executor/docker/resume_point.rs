//! The place in an attempt's log where one worker process stopped and the next resumes.
//!
//! Output is counted exactly, byte by byte. Notes are not part of that count: a note right at the
//! resume point counts as stored if the stored log is long enough to hold it.

use orchestra_contracts::{
    frame::{Body, Frame, Stream},
    worker::LogHead,
};

/// Finds what is new in an attempt's log while the log is read from its beginning.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ResumePoint {
    /// Bytes of output, and of gaps in it, that are still to be skipped.
    left: u64,
    /// Encoded bytes of the stored log that the frames so far do not account for.
    unaccounted: u64,
}

impl ResumePoint {
    pub(super) fn after(stored: LogHead) -> Self {
        Self { left: stored.output + stored.gap, unaccounted: stored.offset }
    }

    /// Whether everything stored has been skipped.
    pub(super) fn is_reached(&self) -> bool {
        self.left == 0
    }

    /// The part of the frame that is not stored yet.
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
        let mut resume_point = ResumePoint::after(head(&all()[..stored]));
        let new: Vec<_> =
            all().into_iter().filter_map(|frame| resume_point.rest_of(frame)).collect();
        assert_eq!(new, all()[stored..]);
        assert!(resume_point.is_reached());
    }

    /// As when the image was built for this very attempt.
    #[test]
    fn notes_from_before_the_job_lose_no_output() {
        let mut stored = vec![text(Stream::System, "building\n")];
        stored.extend(all().into_iter().take(3));
        let mut resume_point = ResumePoint::after(head(&stored));
        let new: Vec<_> =
            all().into_iter().filter_map(|frame| resume_point.rest_of(frame)).collect();
        assert_eq!(new, all()[3..]);
    }

    #[test]
    fn a_frame_is_cut_where_the_seam_is() {
        let mut resume_point =
            ResumePoint::after(LogHead { offset: 14, output: 1, ..LogHead::default() });
        let rest = resume_point.rest_of(text(Stream::Stdout, "abc")).unwrap();
        assert_eq!(rest, text(Stream::Stdout, "bc"));
        let mut resume_point = ResumePoint::after(LogHead { output: 5, ..LogHead::default() });
        assert_eq!(resume_point.rest_of(text(Stream::Stdout, "abc")), None);
        assert!(!resume_point.is_reached());
    }
}
