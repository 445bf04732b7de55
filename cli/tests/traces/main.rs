//! Spans, with the feature `otel`: a job's life through three programs is one trace at a collector, and a
//! collector that is away takes nothing from a job.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail as loudly as the test")]

mod collector;

use std::{
    net::TcpListener,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use orchestra_tests::{
    engine, free_port,
    program::{self, Program},
    turn, unique_name, wait,
};
use tempfile::TempDir;

use collector::{Collector, Span};

/// Whoever calls: a pipeline with a trace of its own.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

fn orchestra(folder: &Path, arguments: &[&str], endpoint: &str) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_orchestra"));
    let mut command = program::command_of(program, arguments);
    command
        .current_dir(folder)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
        .env("OTEL_BSP_SCHEDULE_DELAY", "200")
        .env("TRACEPARENT", format!("00-{TRACE}-{CALLER}-01"))
        .env("ORCHESTRA_WARM", "0")
        .env("ORCHESTRA_WORKER_NAME", unique_name("traced"));
    command
}

fn one<'s>(spans: &'s [Span], name: &str) -> &'s Span {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    let [span] = found[..] else { panic!("{} spans {name} in {spans:#?}", found.len()) };
    span
}

#[tokio::test]
async fn the_life_of_a_job_is_one_trace_of_three_programs() {
    if !engine::is_there().await {
        return;
    }
    let _turn = turn().await;
    let folder = TempDir::new().unwrap();
    let collector = Collector::start().await;
    let port = free_port().to_string();
    let url = format!("http://127.0.0.1:{port}");
    let start = |name: &str| {
        let mut command = orchestra(folder.path(), &[name], &collector.url);
        command.env("ORCHESTRA_LISTEN", format!("127.0.0.1:{port}")).env("ORCHESTRA_URL", &url);
        Program::start(name, command, folder.path().join(format!("{name}.log")))
    };
    let (mut master, mut worker) = (start("master"), start("worker"));
    wait::until("the worker to register", wait::START, async || {
        worker.printed().contains("registered").then_some(())
    })
    .await;
    let mut run = orchestra(folder.path(), &["run", "echo traced; exit 3"], &collector.url);
    run.env("ORCHESTRA_URL", &url);
    let ran = program::run(run, wait::IMAGE).await.expect(3);
    assert_eq!(ran.stdout, "traced\n");
    worker.terminate().await;
    master.terminate().await;

    let spans = collector.spans();
    assert!(spans.iter().all(|span| span.trace == TRACE), "{spans:#?}");
    let parents = [
        ("orchestra run", CALLER),
        ("submit", &one(&spans, "orchestra run").id),
        ("wait", &one(&spans, "submit").id),
        ("attempt", &one(&spans, "submit").id),
        ("end", &one(&spans, "submit").id),
        ("image", &one(&spans, "attempt").id),
        ("start", &one(&spans, "attempt").id),
        ("run", &one(&spans, "attempt").id),
        ("drain", &one(&spans, "attempt").id),
        ("report", &one(&spans, "attempt").id),
    ];
    for (name, parent) in parents {
        let span = one(&spans, name);
        assert_eq!(span.parent, parent, "{name}");
        assert!(span.begin <= span.end, "{span:?}");
    }
    assert_eq!(spans.len(), parents.len(), "{spans:#?}");
    for name in ["submit", "wait", "attempt", "end"] {
        assert_eq!(one(&spans, name).attributes["orchestra.job.id"], "1", "{name}");
    }
    for name in ["attempt", "end"] {
        let span = one(&spans, name);
        assert_eq!((span.attributes["orchestra.outcome"].as_str(), span.failed), ("exited", true));
    }
    let order =
        ["submit", "image", "start", "run", "drain", "report"].map(|name| one(&spans, name));
    assert!(order.is_sorted_by_key(|span| span.begin), "{order:#?}");

    let of = |name| &one(&spans, name).resource;
    let services = [of("orchestra run"), of("submit"), of("attempt")];
    for (number, service) in services.into_iter().enumerate() {
        assert_eq!(service["service.name"], "orchestra");
        assert_eq!(service["service.version"], env!("CARGO_PKG_VERSION"));
        let instance = &service["service.instance.id"];
        let others = services.iter().enumerate().filter(|(other, _)| *other != number);
        assert!(others.into_iter().all(|(_, other)| other["service.instance.id"] != *instance));
    }
}

/// One who takes connections and says nothing, and one who is not there.
#[tokio::test]
async fn a_collector_that_is_away_holds_up_nothing_and_is_told_of_once() {
    if !engine::is_there().await {
        return;
    }
    let _turn = turn().await;
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    for endpoint in [silent, format!("http://127.0.0.1:{}", free_port())] {
        let folder = TempDir::new().unwrap();
        let mut run = orchestra(folder.path(), &["run", "--quiet", "echo done"], &endpoint);
        run.env("ORCHESTRA_LISTEN", format!("127.0.0.1:{}", free_port()));
        run.env("OTEL_EXPORTER_OTLP_TIMEOUT", "1000").env("OTEL_BSP_MAX_QUEUE_SIZE", "4");
        let begun = Instant::now();
        let ran = program::run(run, wait::IMAGE).await.expect(0);
        assert_eq!(ran.stdout, "done\n");
        let told = ran.stderr.matches("the collector takes no spans").count();
        assert_eq!(told, 1, "{} after {:?}", ran.stderr, begun.elapsed());
    }
}

#[tokio::test]
async fn without_a_collector_there_are_no_spans_and_the_callers_trace_goes_on() {
    let folder = TempDir::new().unwrap();
    let port = free_port();
    let mut command = orchestra(folder.path(), &["master"], "");
    command.env("ORCHESTRA_LISTEN", format!("127.0.0.1:{port}"));
    let mut master = Program::start("master", command, folder.path().join("master.log"));
    let mut submit = orchestra(folder.path(), &["submit", "-o", "json", "true"], "");
    submit.env("ORCHESTRA_URL", format!("http://127.0.0.1:{port}"));
    wait::until("the master to listen", wait::START, async || {
        master.printed().contains("listening").then_some(())
    })
    .await;
    let said = program::run(submit, Duration::from_mins(1)).await.expect(0).stdout;
    let job: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(job["labels"]["traceparent"], format!("00-{TRACE}-{CALLER}-01"));
    master.terminate().await;
}
