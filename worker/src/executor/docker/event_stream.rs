//! The events of a sandbox, decoded from the output that the engine passes on.
//!
//! After a stream breaks, the output is read again from the engine's own log, from the first byte
//! on. The part that was already read is skipped, and must be identical: its bytes are counted and
//! checksummed.

use bollard::container::LogOutput;
use bytes::Bytes;
use crc32fast::Hasher;
use futures::StreamExt;
use orchestra_sandbox::protocol::{Decoder, Event, Malformed};

use super::engine::Output;

/// How much of PID 1's standard error is kept to explain a failure, in bytes.
const COMPLAINTS: usize = 2048;

/// Why there are no more events.
#[derive(Debug)]
pub(super) enum StreamEnd {
    /// The stream ended or broke. Another stream may continue it.
    Ended(String),
    /// The content is not a sandbox's. Another stream would not help.
    Garbled(String),
}

/// The events of one sandbox.
pub(super) struct EventStream {
    output: Output,
    decoder: Decoder,
    heard: Progress,
    /// Set while output that was already read comes again: how much of it has come.
    again: Option<Progress>,
    /// What PID 1 wrote to its standard error.
    pub(super) complaints: String,
}

/// How much of a sandbox's output was read, and its checksum.
#[derive(Clone, Default)]
struct Progress {
    bytes: u64,
    sum: Hasher,
}

impl Progress {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.sum.update(bytes);
    }
}

impl EventStream {
    pub(super) fn new(output: Output) -> Self {
        Self {
            output,
            decoder: Decoder::default(),
            heard: Progress::default(),
            again: None,
            complaints: String::new(),
        }
    }

    /// Continues with a stream that replays the output from its very first byte.
    pub(super) fn go_on_with(&mut self, output: Output) {
        self.output = output;
        self.again = (self.heard.bytes > 0).then(Progress::default);
        self.complaints.clear();
    }

    /// How many bytes have come so far.
    pub(super) fn heard(&self) -> u64 {
        self.heard.bytes
    }

    /// The next event, or why there are no more. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Event, StreamEnd> {
        loop {
            let before = self.decoder.given();
            let next = self.decoder.next();
            if let Some(event) =
                next.map_err(|bad: Malformed| StreamEnd::Garbled(bad.to_string()))?
            {
                return whole(event, before);
            }
            match self.output.next().await {
                Some(Ok(LogOutput::StdOut { message })) => {
                    let new = self.pass_over(message)?;
                    self.heard.add(&new);
                    self.decoder.push(&new);
                }
                Some(Ok(LogOutput::StdErr { message })) => {
                    let room = COMPLAINTS.saturating_sub(self.complaints.len());
                    let text = String::from_utf8_lossy(&message);
                    self.complaints.extend(text.chars().take(room));
                }
                // The rest of a piece that was cut off.
                Some(Ok(LogOutput::StdIn { .. } | LogOutput::Console { .. })) => {
                    return Err(StreamEnd::Ended("the engine's stream broke".to_owned()));
                }
                Some(Err(error)) => {
                    return Err(StreamEnd::Ended(format!("the engine's stream broke: {error}")));
                }
                None => return Err(StreamEnd::Ended("its output ended".to_owned())),
            }
        }
    }

    /// The part of the bytes that was not read before.
    fn pass_over(&mut self, mut bytes: Bytes) -> Result<Bytes, StreamEnd> {
        let Some(again) = &mut self.again else { return Ok(bytes) };
        let left = usize::try_from(self.heard.bytes - again.bytes).unwrap_or(usize::MAX);
        let known = bytes.split_to(bytes.len().min(left));
        again.add(&known);
        if again.bytes < self.heard.bytes {
            return Ok(bytes);
        }
        let same = again.sum.clone().finalize() == self.heard.sum.clone().finalize();
        self.again = None;
        if same { Ok(bytes) } else { Err(missing()) }
    }
}

/// Checks an event that cannot be taken back: it carries the count of bytes before it, because an
/// engine that is killed may lose whole frames.
fn whole(event: Event, before: u64) -> Result<Event, StreamEnd> {
    let said = match &event {
        Event::Output { said, .. } => *said,
        Event::Exited(exit) => exit.said,
        _ => return Ok(event),
    };
    if said == before { Ok(event) } else { Err(missing()) }
}

fn missing() -> StreamEnd {
    StreamEnd::Garbled("a part of what its sandbox said is missing".to_owned())
}

#[cfg(test)]
mod tests {
    use bollard::errors::Error;
    use futures::stream;
    use orchestra_sandbox::protocol::{Message, Stream};

    use super::*;

    fn spoken() -> Vec<u8> {
        let mut bytes = Vec::new();
        for text in ["one", "two", "three"] {
            let event = Event::Output {
                stream: Stream::Stdout,
                at: std::time::Duration::ZERO,
                said: bytes.len() as u64,
                bytes: text.as_bytes().to_vec(),
            };
            event.encode(&mut bytes);
        }
        bytes
    }

    /// A stream of pieces of this size.
    fn stream_of(bytes: &[u8], size: usize) -> Output {
        let piece = |piece: &[u8]| LogOutput::StdOut { message: Bytes::copy_from_slice(piece) };
        let pieces: Vec<_> = bytes.chunks(size).map(piece).map(Ok::<_, Error>).collect();
        Box::pin(stream::iter(pieces))
    }

    async fn texts(stream: &mut EventStream) -> (Vec<String>, StreamEnd) {
        let mut texts = Vec::new();
        loop {
            match stream.next().await {
                Ok(Event::Output { bytes, .. }) => texts.push(String::from_utf8(bytes).unwrap()),
                Ok(event) => panic!("{event:?}"),
                Err(end) => return (texts, end),
            }
        }
    }

    #[tokio::test]
    async fn nothing_is_heard_twice_wherever_the_stream_breaks() {
        let all = spoken();
        for broken in 0..=all.len() {
            for size in [1, 7, all.len()] {
                let mut stream = EventStream::new(stream_of(&all[..broken], size));
                let (mut heard, _) = texts(&mut stream).await;
                stream.go_on_with(stream_of(&all[..broken / 2], size));
                heard.extend(texts(&mut stream).await.0);
                stream.go_on_with(stream_of(&all, size));
                heard.extend(texts(&mut stream).await.0);
                assert_eq!(heard, ["one", "two", "three"], "broken at {broken}, pieces of {size}");
            }
        }
    }

    #[tokio::test]
    async fn nothing_is_passed_on_after_a_frame_that_is_missing() {
        let all = spoken();
        // Kind, length, time, place, text, line feed.
        let (first, second) = (5 + 8 + 8 + 3 + 1, 2 * (5 + 8 + 8 + 3 + 1));
        let mut stream = EventStream::new(stream_of(&[&all[..first], &all[second..]].concat(), 8));
        let (heard, end) = texts(&mut stream).await;
        assert_eq!(heard, ["one"]);
        assert!(matches!(end, StreamEnd::Garbled(reason) if reason.contains("missing")));
    }

    #[tokio::test]
    async fn a_log_that_lacks_something_is_not_gone_on_with() {
        let all = spoken();
        let mut stream = EventStream::new(stream_of(&all[..20], 20));
        texts(&mut stream).await;
        let lacking = [&all[..1], &all[2..]].concat();
        stream.go_on_with(stream_of(&lacking, 8));
        let (heard, end) = texts(&mut stream).await;
        assert!(heard.is_empty());
        assert!(matches!(end, StreamEnd::Garbled(reason) if reason.contains("missing")));
    }
}
