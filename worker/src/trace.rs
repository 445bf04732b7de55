//! Records an attempt as spans of its job's trace. The trace is in the job's label `traceparent`.

use orchestra_contracts::{Job, Outcome, Usage, WorkerName, worker::LeaseRef};
use orchestra_program::{Span, SpanKind, TraceParent};
use tokio::time::Instant;

/// The span of an attempt, from its claim or its takeover. Without a trace, it does nothing.
#[derive(Debug)]
pub(crate) struct Trace {
    span: Option<Span>,
    parent: Option<TraceParent>,
    begun: Instant,
}

/// When the command began, if it did, and when the executor was done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) started: Option<Instant>,
    pub(crate) ended: Instant,
}

impl Trace {
    pub(crate) fn begin(job: &Job, lease: &LeaseRef, worker: &WorkerName) -> Self {
        let parent = parent_of(job);
        let span = parent.as_ref().map(|parent| {
            let mut span = Span::begin("attempt", SpanKind::Internal, Some(parent));
            span.set("orchestra.job.id", &lease.job);
            span.set("orchestra.attempt", &lease.attempt);
            span.set("orchestra.worker", worker);
            if let Some(image) = &job.spec.image {
                span.set("orchestra.image", image);
            }
            span
        });
        let parent = span.as_ref().and_then(Span::parent);
        Self { span, parent, begun: Instant::now() }
    }

    /// The span for the worker's log lines about the attempt.
    pub(crate) fn of_log(job: &Job) -> tracing::Span {
        match parent_of(job) {
            Some(parent) => tracing::info_span!("attempt", trace_id = parent.trace_id()),
            None => tracing::Span::none(),
        }
    }

    /// Begins a child span.
    pub(crate) fn part(&self, name: &'static str) -> Option<Span> {
        let parent = self.parent.as_ref()?;
        Some(Span::begin(name, SpanKind::Internal, Some(parent)))
    }

    /// Records the phases of the attempt, once everything but the report is done.
    pub(crate) fn parts(&self, times: Times, usage: Option<&Usage>) {
        let Some(parent) = &self.parent else { return };
        let record = |name, from: Instant, to: Instant| {
            Span::begin_ago(name, SpanKind::Internal, Some(parent), from.elapsed())
                .end_ago(to.elapsed());
        };
        let Times { started, ended } = times;
        let image = usage.and_then(|usage| usage.image_ms).map(std::time::Duration::from_millis);
        let ready = started.unwrap_or(ended);
        let made = image.map_or(self.begun, |image| (self.begun + image).min(ready));
        if image.is_some() {
            record("image", self.begun, made);
        }
        record("start", made, ready);
        if let Some(started) = started {
            record("run", started, ended);
        }
        record("drain", ended, Instant::now());
    }

    pub(crate) fn end(&mut self, outcome: &Outcome) {
        if let Some(span) = &mut self.span {
            span.set("orchestra.outcome", &outcome.kind());
            if !outcome.is_success() {
                span.fail(outcome);
            }
        }
    }

    pub(crate) fn lost(&mut self) {
        if let Some(span) = &mut self.span {
            span.fail(&"the lease is lost");
        }
    }
}

fn parent_of(job: &Job) -> Option<TraceParent> {
    job.spec.labels.get(TraceParent::LABEL)?.parse().ok()
}
