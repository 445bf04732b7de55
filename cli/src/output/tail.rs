//! The last lines of a log.

use std::collections::VecDeque;

use orchestra_contracts::frame::{Body, Frame, Stream};

/// What remains of the frames when only the last `lines` lines of `only` (of both
/// output streams, when that is none) are wanted. A gap is no line, but the one
/// before the first line may have swallowed its beginning, and stays.
pub(crate) fn tail(frames: Vec<Frame>, lines: usize, only: Option<Stream>) -> VecDeque<Frame> {
    let wanted = |stream| only.map_or(stream != Stream::System, |only| stream == only);
    let mut kept = VecDeque::new();
    // The end of the log ends a line even when no line feed does.
    let (mut left, mut at_end) = (lines, true);
    for frame in frames.into_iter().rev() {
        let Frame { time, body } = frame;
        if left == 0 {
            break;
        }
        let Body::Bytes(stream, bytes) = body else {
            kept.push_front(Frame { time, body });
            continue;
        };
        if !wanted(stream) {
            kept.push_front(Frame { time, body: Body::Bytes(stream, bytes) });
            continue;
        }
        let mut start = 0;
        for (at, _) in bytes.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            if at_end && at + 1 == bytes.len() {
                continue;
            }
            left -= 1;
            if left == 0 {
                start = at + 1;
                break;
            }
        }
        at_end &= bytes.is_empty();
        kept.push_front(Frame { time, body: Body::Bytes(stream, bytes.slice(start..)) });
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(texts: &[(Stream, &'static str)]) -> Vec<Frame> {
        let frame = |&(stream, text): &(Stream, &'static str)| Frame {
            time: 0,
            body: Body::Bytes(stream, text.into()),
        };
        texts.iter().map(frame).collect()
    }

    fn text(frames: impl IntoIterator<Item = Frame>) -> String {
        let text = |frame: Frame| match frame.body {
            Body::Bytes(_, bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            Body::Gap(bytes) => format!("[{bytes}]"),
        };
        frames.into_iter().map(text).collect()
    }

    #[test]
    fn a_tail_has_so_many_lines() {
        use Stream::{Stderr, Stdout, System};
        let log =
            || frames(&[(System, "s\n"), (Stdout, "a\nb"), (Stderr, "c\n"), (Stdout, "d\ne")]);
        for (lines, only, expected) in [
            (0, None, ""),
            (1, None, "e"),
            (2, None, "d\ne"),
            (3, None, "bc\nd\ne"),
            (9, None, "s\na\nbc\nd\ne"),
            (1, Some(System), "s\na\nbc\nd\ne"),
        ] {
            assert_eq!(text(tail(log(), lines, only)), expected, "{lines} {only:?}");
        }
        let ended = frames(&[(Stdout, "a\nb\n"), (Stdout, ""), (Stdout, "c\n")]);
        assert_eq!(text(tail(ended.clone(), 1, None)), "c\n");
        assert_eq!(text(tail(ended, 2, None)), "b\nc\n");
    }

    #[test]
    fn a_gap_stays_in_a_tail() {
        let mut log = frames(&[(Stream::Stdout, "a\n"), (Stream::Stdout, "b\n")]);
        log.insert(1, Frame { time: 0, body: Body::Gap(7) });
        assert_eq!(text(tail(log.clone(), 1, None)), "[7]b\n");
        assert_eq!(text(tail(log, 2, None)), "a\n[7]b\n");
    }
}
