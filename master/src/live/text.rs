//! A log as plain text, byte-exact: nothing is added to what the command wrote,
//! unless times are asked for or bytes were left out.

use bytes::{BufMut, Bytes, BytesMut};
use jiff::Timestamp;
use orchestra_contracts::frame::{Body, Frame};

/// Renders frames as text.
#[derive(Clone, Debug)]
pub struct Text {
    timestamps: bool,
    at_line_start: bool,
}

impl Text {
    /// With `timestamps`, each line begins with the time at which its first bytes were read, in RFC
    /// 3339 and UTC.
    pub fn new(timestamps: bool) -> Self {
        Self { timestamps, at_line_start: true }
    }

    pub fn render(&mut self, frame: &Frame) -> Bytes {
        match &frame.body {
            Body::Bytes(_, bytes) if self.timestamps => self.with_times(bytes, frame.time),
            Body::Bytes(_, bytes) => {
                self.note_end(bytes);
                bytes.clone()
            }
            Body::Gap(left_out) => {
                let line = format!("[orchestra: {left_out} bytes were left out here]\n");
                let begin = if self.at_line_start { "" } else { "\n" };
                self.at_line_start = true;
                let line = format!("{begin}{line}");
                if self.timestamps && begin.is_empty() {
                    return self.with_times(line.as_bytes(), frame.time);
                }
                line.into()
            }
        }
    }

    fn with_times(&mut self, bytes: &[u8], time: u64) -> Bytes {
        let time = format!("{:.6} ", timestamp(time));
        let mut text = BytesMut::with_capacity(bytes.len() + time.len());
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.at_line_start {
                text.put_slice(time.as_bytes());
            }
            text.put_slice(line);
            self.note_end(line);
        }
        text.freeze()
    }

    fn note_end(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last() {
            self.at_line_start = *last == b'\n';
        }
    }
}

/// A worker's clock can have any value; one that is no valid time is shown as the last one.
fn timestamp(micros: u64) -> Timestamp {
    let micros = i64::try_from(micros).ok();
    micros.and_then(|micros| Timestamp::from_microsecond(micros).ok()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use orchestra_contracts::frame::Stream;

    use super::*;

    fn rendered(timestamps: bool, bodies: &[Body]) -> String {
        let mut text = Text::new(timestamps);
        let frames = bodies.iter().zip(1..).map(|(body, time)| Frame { time, body: body.clone() });
        frames.map(|frame| String::from_utf8(text.render(&frame).to_vec()).unwrap()).collect()
    }

    fn out(text: &'static str) -> Body {
        Body::Bytes(Stream::Stdout, Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn nothing_is_added_to_output() {
        assert_eq!(rendered(false, &[out("a\r"), out("b\n\n"), out("c")]), "a\rb\n\nc");
    }

    #[test]
    fn each_line_has_the_time_of_its_first_byte() {
        assert_eq!(
            rendered(true, &[out("a"), out("b\nc\n"), out("d")]),
            "1970-01-01T00:00:00.000001Z ab\n1970-01-01T00:00:00.000002Z c\n1970-01-01T00:00:00.000003Z d"
        );
    }

    #[test]
    fn a_gap_is_a_line_of_its_own() {
        let gap = Body::Gap(123);
        let line = "[orchestra: 123 bytes were left out here]\n";
        assert_eq!(rendered(false, &[out("a"), gap.clone(), out("b")]), format!("a\n{line}b"));
        assert_eq!(rendered(false, &[out("a\n"), gap]), format!("a\n{line}"));
    }
}
