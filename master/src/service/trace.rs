//! Traces the life of a job. The job's label `traceparent` names the trace, so it passes through
//! the database, and through masters and workers of any version.

use std::time::Duration;

use jiff::Timestamp;
use orchestra_contracts::{JobSpec, limits};
use orchestra_program::{Span, SpanKind, TraceParent};

use crate::{
    domain::{Finish, Job},
    store::Applied,
};

/// The parent span of what happens to the job.
fn parent_of(spec: &JobSpec) -> Option<TraceParent> {
    spec.labels.get(TraceParent::LABEL)?.parse().ok()
}

/// The span of a submission: in its caller's trace, or in a new one if spans are exported.
#[derive(Debug)]
pub(super) struct Submitting {
    span: Span,
    caller: Option<TraceParent>,
}

impl Submitting {
    pub(super) fn begin(caller: Option<TraceParent>) -> Self {
        Self { span: Span::begin("submit", SpanKind::Server, caller.as_ref()), caller }
    }

    /// The trace label of its jobs, unless the caller has set it.
    pub(super) fn mark(&self, spec: &mut JobSpec) {
        let parent = self.span.parent().or_else(|| self.caller.clone());
        if let Some(parent) = parent
            && spec.labels.len() < limits::LABELS
        {
            let label = spec.labels.entry(TraceParent::LABEL.to_owned());
            label.or_insert_with(|| parent.to_string());
        }
    }

    pub(super) fn stored(mut self, jobs: &[orchestra_contracts::Job]) {
        if let Some(first) = jobs.first() {
            self.span.set("orchestra.job.id", &first.id);
            self.span.set("orchestra.queue", &first.spec.queue);
            self.span.set("orchestra.jobs", &jobs.len());
        }
    }
}

/// A scheduled job begins a trace of its own.
pub(super) fn scheduled(spec: &mut JobSpec, schedule: &str) {
    let mut submitting = Submitting::begin(None);
    submitting.span.set("orchestra.schedule", &schedule);
    submitting.mark(spec);
}

/// The span of a claim: the time that the job waited, and for a retry only the moment.
pub(super) fn claimed(job: &Job, now: Timestamp) {
    let Some(parent) = parent_of(&job.spec) else { return };
    let since = job.spec.not_before.map_or(job.created_at, |time| time.max(job.created_at));
    let waited =
        if job.attempts == 1 { now.duration_since(since) } else { jiff::SignedDuration::ZERO };
    let waited = Duration::try_from(waited).unwrap_or_default();
    let mut span = Span::begin_ago("wait", SpanKind::Internal, Some(&parent), waited);
    span.set("orchestra.job.id", &job.id);
    span.set("orchestra.attempt", &job.attempts);
    span.set("orchestra.queue", &job.spec.queue);
    if let Some(lease) = job.lease() {
        span.set("orchestra.worker", &lease.worker);
    }
}

/// The span of an attempt's end, whoever ended it, with the time that the store took.
pub(super) fn ended(applied: &Applied, finish: &Finish, took: Duration) {
    let Some(parent) = parent_of(&applied.job.spec) else { return };
    let mut span = Span::begin_ago("end", SpanKind::Internal, Some(&parent), took);
    span.set("orchestra.job.id", &applied.job.id);
    span.set("orchestra.attempt", &applied.job.attempts);
    span.set("orchestra.status", &applied.job.status());
    span.set("orchestra.outcome", &finish.outcome.kind());
    if !finish.outcome.is_success() {
        span.fail(&finish.outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn marked(labels: &[(&str, &str)], count: usize, trace: Option<&str>) -> JobSpec {
        let mut spec = JobSpec::new("true");
        spec.labels.extend(labels.iter().map(|(key, value)| (key.to_string(), value.to_string())));
        spec.labels.extend((0..count).map(|number| (format!("l{number}"), String::new())));
        Submitting::begin(trace.map(|trace| trace.parse().unwrap())).mark(&mut spec);
        spec
    }

    #[test]
    fn a_job_carries_the_trace_of_its_caller() {
        let parent = |spec: &JobSpec| parent_of(spec).map(|parent| parent.to_string());
        assert_eq!(parent(&marked(&[], 0, Some(TRACE))).as_deref(), Some(TRACE));
        assert_eq!(marked(&[], 0, None).labels.len(), 0);
        // Whoever says it himself has said it.
        let own = "00-11111111111111111111111111111111-1111111111111111-00";
        let spec = marked(&[("traceparent", own)], 0, Some(TRACE));
        assert_eq!(parent(&spec).as_deref(), Some(own));
        assert_eq!(parent(&marked(&[("traceparent", "mine")], 0, Some(TRACE))), None);
    }

    #[test]
    fn no_job_gets_more_labels_than_it_may_have() {
        let spec = marked(&[], limits::LABELS, Some(TRACE));
        assert_eq!(spec.labels.len(), limits::LABELS);
        assert_eq!(spec.validate(), []);
        assert_eq!(marked(&[], limits::LABELS - 1, Some(TRACE)).validate(), []);
    }
}
