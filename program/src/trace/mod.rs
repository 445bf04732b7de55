//! A job's life as one trace: what each program had to do with it is a span. With the feature `otel`, and where
//! the environment names a collector, spans go there by OTLP; else nothing of this does anything.
//!
//! Nobody waits for a collector: spans lie in a bounded queue, and what finds it full is dropped.

#[cfg(feature = "otel")]
mod carrier;
#[cfg(feature = "otel")]
mod export;
mod parent;

use std::{fmt, time::Duration};

pub use parent::{NoTrace, TraceParent};

/// From now on the spans of this program go to the collector that the environment names, if it names one.
/// To be called in the runtime, which then sends them.
pub fn export_spans(program: &'static str, version: &'static str) {
    #[cfg(feature = "otel")]
    export::begin(program, version);
    #[cfg(not(feature = "otel"))]
    let _ = (program, version);
}

/// Sends what still waits, as long as a program may take for that at its end.
pub(crate) fn flush() {
    #[cfg(feature = "otel")]
    export::end();
}

/// Whose part of the work a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Asks somebody else for something.
    Client,
    /// Does what somebody else asked for.
    Server,
    Internal,
}

/// Something that was done for a job. It ends when it is dropped.
#[derive(Debug)]
pub struct Span {
    #[cfg(feature = "otel")]
    open: Option<export::Open>,
}

impl Span {
    /// One that begins now: in its parent's trace, or in one of its own.
    pub fn begin(name: &'static str, kind: SpanKind, parent: Option<&TraceParent>) -> Self {
        Self::begin_ago(name, kind, parent, Duration::ZERO)
    }

    /// One that began so long ago.
    pub fn begin_ago(
        name: &'static str,
        kind: SpanKind,
        parent: Option<&TraceParent>,
        ago: Duration,
    ) -> Self {
        #[cfg(not(feature = "otel"))]
        let _ = (name, kind, parent, ago);
        Self {
            #[cfg(feature = "otel")]
            open: export::Open::begin(name, kind, parent, ago),
        }
    }

    /// Says something of it.
    pub fn set(&mut self, key: &'static str, value: &dyn fmt::Display) {
        #[cfg(feature = "otel")]
        if let Some(open) = &mut self.open {
            open.set(key, value.to_string());
        }
        #[cfg(not(feature = "otel"))]
        let _ = (key, value);
    }

    /// It came to nothing, for this reason.
    pub fn fail(&mut self, reason: &dyn fmt::Display) {
        #[cfg(feature = "otel")]
        if let Some(open) = &mut self.open {
            open.fail(reason.to_string());
        }
        #[cfg(not(feature = "otel"))]
        let _ = reason;
    }

    /// The parent of what is done for it elsewhere. `None` where spans go nowhere.
    pub fn parent(&self) -> Option<TraceParent> {
        #[cfg(feature = "otel")]
        return self.open.as_ref().and_then(export::Open::parent);
        #[cfg(not(feature = "otel"))]
        None
    }

    /// It ended so long ago.
    pub fn end_ago(self, ago: Duration) {
        #[cfg(feature = "otel")]
        if let Some(mut open) = self.open {
            open.end_ago(ago);
        }
        #[cfg(not(feature = "otel"))]
        let _ = ago;
    }
}
