//! Parses an event stream (WHATWG HTML, section 9.2.6) from pieces of any size.
//!
//! Lines end with LF or CRLF. The lone CR that the standard allows does not end a line here, since
//! no server sends it. An incomplete event is dropped.

use bytes::{Bytes, BytesMut};

/// The longest line that is accepted. The longest that a master sends is a job with a full standard
/// input, 6 MiB if every character is escaped.
const MAX_LINE: usize = 16 * 1024 * 1024;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) kind: String,
    /// The last id that was sent, with this event or before it.
    pub(crate) id: String,
    pub(crate) data: String,
}

/// The stream is not an event stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

#[derive(Debug, Default)]
pub(crate) struct Decoder {
    buffer: BytesMut,
    /// How many bytes of `buffer` are known to contain no line end.
    scanned: usize,
    event: Event,
    has_data: bool,
}

impl Decoder {
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next complete event; `None` if it needs more bytes.
    pub(crate) fn next(&mut self) -> Result<Option<Event>, Malformed> {
        while let Some(line) = self.line()? {
            if !line.is_empty() {
                let text = std::str::from_utf8(&line).map_err(|_| Malformed("it is not UTF-8"))?;
                self.field(text);
                continue;
            }
            let id = self.event.id.clone();
            let event = std::mem::replace(&mut self.event, Event { id, ..Event::default() });
            if std::mem::take(&mut self.has_data) {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    fn line(&mut self) -> Result<Option<Bytes>, Malformed> {
        let Some(end) = self.buffer[self.scanned..].iter().position(|&byte| byte == b'\n') else {
            self.scanned = self.buffer.len();
            return match self.scanned {
                ..=MAX_LINE => Ok(None),
                _ => Err(Malformed("a line of it has no end")),
            };
        };
        let mut line = self.buffer.split_to(self.scanned + end + 1).freeze();
        self.scanned = 0;
        line.truncate(line.len() - 1);
        if line.ends_with(b"\r") {
            line.truncate(line.len() - 1);
        }
        Ok(Some(line))
    }

    /// A line that starts with a colon is a comment: a field with an empty name.
    fn field(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut self.event.kind),
            "id" if !value.contains('\0') => value.clone_into(&mut self.event.id),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = ": hello\n\nevent: log\nid: 1-20\ndata: {\"a\":\ndata: \"ü\"}\n\n\
                        data:x\r\n\r\nid: 1-30\n\nevent: end\ndata\n\nevent: log\ndata: cut";

    fn decode(pieces: &[&[u8]]) -> Vec<Event> {
        let mut decoder = Decoder::default();
        let mut events = Vec::new();
        for piece in pieces {
            decoder.push(piece);
            while let Some(event) = decoder.next().unwrap() {
                events.push(event);
            }
        }
        events
    }

    fn event(kind: &str, id: &str, data: &str) -> Event {
        Event { kind: kind.into(), id: id.into(), data: data.into() }
    }

    #[test]
    fn events_are_the_same_wherever_the_pieces_are_cut() {
        let expected = vec![
            event("log", "1-20", "{\"a\":\n\"ü\"}"),
            event("", "1-20", "x"),
            event("end", "1-30", ""),
        ];
        let bytes = TEXT.as_bytes();
        for cut in 0..=bytes.len() {
            let (head, rest) = bytes.split_at(cut);
            assert_eq!(decode(&[head, rest]), expected, "cut at {cut}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(decode(&single), expected);
    }

    #[test]
    fn what_is_no_event_stream_is_said() {
        let mut decoder = Decoder::default();
        decoder.push(b"data: \xff\n\n");
        assert_eq!(decoder.next(), Err(Malformed("it is not UTF-8")));
        let mut decoder = Decoder::default();
        decoder.push(&vec![b'x'; MAX_LINE + 1]);
        assert!(decoder.next().is_err());
    }
}
