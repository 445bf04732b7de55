//! What a sandbox says, put together from what the engine passes on.

use bollard::container::LogOutput;
use futures::StreamExt;
use orchestra_sandbox::protocol::{Decoder, Event, Malformed};

use super::engine::Output;

/// Of what PID 1 says on its standard error, so much is kept to explain a failure.
const COMPLAINTS: usize = 2048;

/// What a sandbox says, frame by frame.
pub(super) struct Said {
    output: Output,
    decoder: Decoder,
    /// What PID 1 wrote to its standard error.
    pub(super) complaints: String,
}

impl Said {
    pub(super) fn new(output: Output) -> Self {
        Self { output, decoder: Decoder::default(), complaints: String::new() }
    }

    /// The next event, or why there is none any more. It may be dropped and asked again.
    pub(super) async fn next(&mut self) -> Result<Event, String> {
        loop {
            if let Some(event) = self.decoder.next().map_err(|bad: Malformed| bad.to_string())? {
                return Ok(event);
            }
            match self.output.next().await {
                Some(Ok(LogOutput::StdOut { message })) => self.decoder.push(&message),
                Some(Ok(LogOutput::StdErr { message })) => {
                    let room = COMPLAINTS.saturating_sub(self.complaints.len());
                    let text = String::from_utf8_lossy(&message);
                    self.complaints.extend(text.chars().take(room));
                }
                Some(Ok(LogOutput::StdIn { .. } | LogOutput::Console { .. })) => {
                    return Err("the engine mixed up its streams".to_owned());
                }
                Some(Err(error)) => return Err(format!("the engine's stream broke: {error}")),
                None => return Err("its output ended".to_owned()),
            }
        }
    }
}
