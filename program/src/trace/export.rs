//! Sends spans to a collector over OTLP/HTTP: <https://opentelemetry.io/docs/specs/otlp/>. The
//! environment variables are those of OpenTelemetry, and its SDK reads them.

use std::{
    env,
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use opentelemetry::{
    Context, KeyValue,
    trace::{
        Span as _, SpanBuilder, SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags,
        TraceId, TraceState, Tracer as _, TracerProvider as _,
    },
};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    resource::EnvResourceDetector,
    trace::{IdGenerator as _, RandomIdGenerator, SdkTracer, SdkTracerProvider},
};
use tokio::runtime::Handle;

use super::{SpanKind, TraceParent, carrier::Carrier};

/// How long a program waits for a collector at its end.
const LAST: Duration = Duration::from_secs(2);

static EXPORT: OnceLock<Export> = OnceLock::new();

#[derive(Debug)]
struct Export {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

pub(super) fn begin(program: &'static str, version: &'static str) {
    if !is_wanted() {
        return;
    }
    match Export::open(program, version, Handle::current()) {
        // A second program in this process uses the first one's export.
        Ok(export) => drop(EXPORT.set(export)),
        Err(error) => tracing::warn!("spans go nowhere: {error}"),
    }
}

pub(super) fn end() {
    if let Some(export) = EXPORT.get() {
        // The sender has already logged a failure.
        let _ = export.provider.shutdown_with_timeout(LAST);
    }
}

/// OpenTelemetry's default is a collector on this machine. Here spans are only sent if one is
/// configured.
fn is_wanted() -> bool {
    let is = |name: &str, value: &str| said(name).is_some_and(|it| it.eq_ignore_ascii_case(value));
    let is_named = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]
        .into_iter()
        .any(|name| said(name).is_some());
    is_named && !is("OTEL_SDK_DISABLED", "true") && !is("OTEL_TRACES_EXPORTER", "none")
}

/// An empty variable counts as unset, as everywhere in OpenTelemetry.
pub(super) fn said(name: &str) -> Option<String> {
    env::var_os(name)?.into_string().ok().filter(|value| !value.is_empty())
}

impl Export {
    fn open(
        program: &'static str,
        version: &'static str,
        runtime: Handle,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let carrier = Carrier::new(runtime)?;
        let exporter = SpanExporter::builder().with_http().with_http_client(carrier).build()?;
        let provider = SdkTracerProvider::builder()
            .with_resource(resource(program, version))
            .with_batch_exporter(exporter)
            .build();
        let tracer = provider.tracer("orchestra");
        Ok(Self { provider, tracer })
    }
}

/// Attributes from the environment take precedence.
fn resource(program: &'static str, version: &'static str) -> Resource {
    let instance = RandomIdGenerator::default().new_trace_id().to_string();
    let resource = Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", program),
            KeyValue::new("service.version", version),
            KeyValue::new("service.instance.id", instance),
        ])
        .with_detector(Box::new(EnvResourceDetector::new()));
    match said("OTEL_SERVICE_NAME") {
        Some(name) => resource.with_service_name(name).build(),
        None => resource.build(),
    }
}

/// A span that has not ended.
#[derive(Debug)]
pub(super) struct Open(opentelemetry_sdk::trace::Span);

impl Open {
    pub(super) fn begin(
        name: &'static str,
        kind: SpanKind,
        parent: Option<&TraceParent>,
        ago: Duration,
    ) -> Option<Self> {
        let tracer = &EXPORT.get()?.tracer;
        let span = SpanBuilder::from_name(name).with_kind(kind.into()).with_start_time(before(ago));
        let context = parent
            .and_then(context)
            .map_or_else(Context::new, |parent| Context::new().with_remote_span_context(parent));
        Some(Self(tracer.build_with_context(span, &context)))
    }

    pub(super) fn set(&mut self, key: &'static str, value: String) {
        self.0.set_attribute(KeyValue::new(key, value));
    }

    pub(super) fn fail(&mut self, reason: String) {
        self.0.set_status(Status::error(reason));
    }

    pub(super) fn end_ago(&mut self, ago: Duration) {
        self.0.end_with_timestamp(before(ago));
    }

    /// Also returned for an unsampled span, so that other programs do not sample it either.
    pub(super) fn parent(&self) -> Option<TraceParent> {
        let context = self.0.span_context();
        let (trace, span) = (context.trace_id(), context.span_id());
        let flags = context.trace_flags().to_u8();
        context.is_valid().then(|| format!("00-{trace}-{span}-{flags:02x}").parse().ok())?
    }
}

impl From<SpanKind> for opentelemetry::trace::SpanKind {
    fn from(kind: SpanKind) -> Self {
        match kind {
            SpanKind::Client => Self::Client,
            SpanKind::Server => Self::Server,
            SpanKind::Internal => Self::Internal,
        }
    }
}

fn context(parent: &TraceParent) -> Option<SpanContext> {
    let [trace, span, flags] = parent.parts();
    Some(SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        TraceState::default(),
    ))
}

#[expect(
    clippy::disallowed_methods,
    reason = "spans of several machines are laid over each other by their time"
)]
fn before(ago: Duration) -> SystemTime {
    let now = SystemTime::now();
    now.checked_sub(ago).unwrap_or(now)
}
