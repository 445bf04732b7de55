//! A collector of the test's own: takes OTLP over HTTP, as JSON, and keeps the spans.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{Json, Router, extract::State, routing::post};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

/// What a collector hears of one.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) name: String,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty where it has none.
    pub(crate) parent: String,
    /// In nanoseconds.
    pub(crate) begin: u64,
    pub(crate) end: u64,
    pub(crate) failed: bool,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) resource: BTreeMap<String, String>,
}

type Spans = Arc<Mutex<Vec<Span>>>;

/// Ends when it is dropped.
pub(crate) struct Collector {
    pub(crate) url: String,
    spans: Spans,
    _serving: JoinSet<std::io::Result<()>>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let spans = Spans::default();
        let router = Router::new().route("/v1/traces", post(take)).with_state(spans.clone());
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await });
        Self { url, spans, _serving: serving }
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }
}

/// `ExportTraceServiceRequest`, as <https://opentelemetry.io/docs/specs/otlp/> writes it in JSON.
async fn take(State(spans): State<Spans>, Json(request): Json<Value>) -> Json<Value> {
    for of_resource in each(&request["resourceSpans"]) {
        let resource = attributes(&of_resource["resource"]);
        for of_scope in each(&of_resource["scopeSpans"]) {
            let read = each(&of_scope["spans"]).iter().map(|span| span_of(span, &resource));
            spans.lock().unwrap().extend(read);
        }
    }
    Json(json!({}))
}

fn span_of(span: &Value, resource: &BTreeMap<String, String>) -> Span {
    let text = |name: &str| span[name].as_str().unwrap_or_default().to_owned();
    let time = |name: &str| text(name).parse().unwrap_or_else(|_| panic!("{name}: {span}"));
    Span {
        name: text("name"),
        trace: text("traceId"),
        id: text("spanId"),
        parent: text("parentSpanId"),
        begin: time("startTimeUnixNano"),
        end: time("endTimeUnixNano"),
        failed: span["status"]["code"] == 2,
        attributes: attributes(span),
        resource: resource.clone(),
    }
}

fn attributes(of: &Value) -> BTreeMap<String, String> {
    let pair = |pair: &Value| {
        let value = pair["value"]["stringValue"].as_str().unwrap_or_default();
        (pair["key"].as_str().unwrap().to_owned(), value.to_owned())
    };
    each(&of["attributes"]).iter().map(pair).collect()
}

fn each(list: &Value) -> &[Value] {
    list.as_array().map_or(&[][..], Vec::as_slice)
}
