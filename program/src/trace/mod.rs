//! The life of a job as one trace, in which the work of each program is a span. With the feature
//! `otel`, and if the environment names a collector, spans are sent there over OTLP. Otherwise
//! nothing here has any effect.
//!
//! Nothing waits for a collector: spans go into a bounded queue and are dropped if it is full.

#[cfg(feature = "otel")]
mod carrier;
#[cfg(feature = "otel")]
mod export;
mod parent;

use std::{fmt, time::Duration};

pub use parent::{NoTrace, TraceParent};

/// Starts sending the spans of this program to the collector that the environment names, if any.
/// Must be called in the runtime, which then sends them.
pub fn export_spans(program: &'static str, version: &'static str) {
    #[cfg(feature = "otel")]
    export::begin(program, version);
    #[cfg(not(feature = "otel"))]
    let _ = (program, version);
}

/// Sends the queued spans, within the time that a program may take for this at its end.
pub(crate) fn flush() {
    #[cfg(feature = "otel")]
    export::end();
}

/// The role of a span's program in the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Calls another program.
    Client,
    /// Serves the call of another program.
    Server,
    Internal,
}

/// Work that was done for a job. The span ends when it is dropped.
#[derive(Debug)]
pub struct Span {
    #[cfg(feature = "otel")]
    open: Option<export::Open>,
}

impl Span {
    /// Starts a span now, in the trace of its parent or in a new one.
    pub fn begin(name: &'static str, kind: SpanKind, parent: Option<&TraceParent>) -> Self {
        Self::begin_ago(name, kind, parent, Duration::ZERO)
    }

    /// Starts a span at a time in the past.
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

    /// Sets an attribute.
    pub fn set(&mut self, key: &'static str, value: &dyn fmt::Display) {
        #[cfg(feature = "otel")]
        if let Some(open) = &mut self.open {
            open.set(key, value.to_string());
        }
        #[cfg(not(feature = "otel"))]
        let _ = (key, value);
    }

    /// Marks the span as failed, with a reason.
    pub fn fail(&mut self, reason: &dyn fmt::Display) {
        #[cfg(feature = "otel")]
        if let Some(open) = &mut self.open {
            open.fail(reason.to_string());
        }
        #[cfg(not(feature = "otel"))]
        let _ = reason;
    }

    /// The parent for work that other programs do for this span. `None` if spans are not sent.
    pub fn parent(&self) -> Option<TraceParent> {
        #[cfg(feature = "otel")]
        return self.open.as_ref().and_then(export::Open::parent);
        #[cfg(not(feature = "otel"))]
        None
    }

    /// Ends the span at a time in the past.
    pub fn end_ago(self, ago: Duration) {
        #[cfg(feature = "otel")]
        if let Some(mut open) = self.open {
            open.end_ago(ago);
        }
        #[cfg(not(feature = "otel"))]
        let _ = ago;
    }
}
