//! Attaches again to a sandbox whose stream broke. If its container still runs, its output
//! continues exactly where it broke off. If it has ended, its last output is read from the engine's
//! log. While the engine does not answer, this waits for as long as the sandbox can live without
//! its worker.

use std::time::Duration;

use bollard::models::ContainerState;
use orchestra_contracts::Outcome;
use tokio::{
    io::sink,
    time::{Instant, sleep},
};

use super::{
    container::Container,
    ending,
    engine::{EngineError, Input, Output},
    event_stream::StreamEnd,
    session::{SLACK, Sandbox},
};

/// Pause between calls to an engine that is away.
const PAUSE: Duration = Duration::from_millis(500);
/// How many streams in a row may break without a byte.
const TRIES: u32 = 6;

/// What is known about broken streams so far.
#[derive(Default)]
pub(super) struct Breaks {
    /// Streams in a row that brought nothing, and the bytes that had come before them.
    tries: u32,
    heard: u64,
    /// What kept the engine from answering, if anything did.
    absence: Option<String>,
    /// The present stream began after the container's end.
    ended: bool,
}

impl Sandbox {
    /// Checks on the container after a while of quiet. Returns what is wrong, if anything.
    pub(super) async fn look_after(&mut self) -> Option<StreamEnd> {
        let ended = |reason: &str| Some(StreamEnd::Ended(reason.to_owned()));
        match state_of(&self.container).await {
            Ok(state) if runs(&state) && self.deaf => ended("nothing could be said to it"),
            Ok(state) if runs(&state) => None,
            Ok(_) | Err(EngineError::NotFound(_)) => ended("its output goes on after its end"),
            // The health check decides how long that may last.
            Err(_) => None,
        }
    }

    /// Picks up the output where it broke off. The error is the outcome of the attempt if there is
    /// nothing to pick up.
    pub(super) async fn pick_up(&mut self, end: StreamEnd) -> Result<(), Outcome> {
        let reason = match end {
            StreamEnd::Ended(reason) => reason,
            StreamEnd::Garbled(reason) => return Err(ending::of_garbled(&reason)),
        };
        let more = std::mem::replace(&mut self.breaks.heard, self.event_stream.heard());
        self.breaks.tries =
            if more < self.event_stream.heard() { 1 } else { self.breaks.tries + 1 };
        if self.breaks.tries > TRIES {
            return Err(ending::of_garbled(&reason));
        }
        loop {
            match self.attach_again(&reason).await {
                Ok(()) => return Ok(()),
                Err(Broken::Ended(outcome)) => return Err(outcome),
                Err(Broken::Away(error)) => {
                    if Instant::now() >= self.fence + SLACK {
                        return Err(ending::of_trouble(&error.to_string()));
                    }
                    self.breaks.absence = Some(error.to_string());
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn attach_again(&mut self, reason: &str) -> Result<(), Broken> {
        let state = state_of(&self.container).await?;
        if !runs(&state) && self.breaks.ended {
            let absence = self.breaks.absence.as_deref();
            let outcome = ending::of_silence(&state, &self.event_stream.complaints, absence);
            return Err(Broken::Ended(outcome));
        }
        let (output, input) = streams_of(&self.container, &state).await?;
        tracing::info!(container = self.container.name(), "attached again: {reason}");
        self.breaks.ended = !runs(&state);
        self.event_stream.go_on_with(output);
        self.input = input;
        self.deaf = false;
        Ok(())
    }
}

/// Why attaching again failed.
enum Broken {
    Ended(Outcome),
    /// The engine does not answer at the moment.
    Away(EngineError),
}

impl From<EngineError> for Broken {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::NotFound(_) => Self::Ended(ending::of_removed()),
            error if error.is_absence() => Self::Away(error),
            error => Self::Ended(ending::of_garbled(&error.to_string())),
        }
    }
}

/// All output that a container ever produced and will produce, and its input if it still reads.
pub(super) async fn streams_of(
    container: &Container,
    state: &ContainerState,
) -> Result<(Output, Input), EngineError> {
    let (engine, name) = (container.engine(), container.handle());
    let deaf: Input = Box::pin(sink());
    let input = if runs(state) {
        match engine.attach_input(name).await {
            // It has ended between the two calls. Its log says how.
            Err(EngineError::Conflict(_)) => deaf,
            attached => attached?,
        }
    } else {
        deaf
    };
    Ok((engine.follow_log(name), input))
}

pub(super) async fn state_of(container: &Container) -> Result<ContainerState, EngineError> {
    let described = container.engine().inspect(container.handle()).await?;
    Ok(described.state.unwrap_or_default())
}

/// Whether the container runs. A paused one counts: it may continue.
pub(super) fn runs(state: &ContainerState) -> bool {
    state.running == Some(true)
}
