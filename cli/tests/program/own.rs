//! Where no master is needed: usage, failures, and what is sent.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
};

use axum::{
    Json, Router,
    http::StatusCode,
    response::Html,
    routing::{any, get},
};
use orchestra_contracts::paths;
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::support::{orchestra, sentence, text};

pub(crate) struct Server {
    address: SocketAddr,
    _task: JoinSet<()>,
}

impl Server {
    pub(crate) async fn start(router: Router) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut task = JoinSet::new();
        task.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, _task: task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

#[tokio::test]
async fn help_names_every_verb_and_the_codes() {
    let output = orchestra(&["--help"], &[]).await;
    assert!(output.status.success());
    let help = text(&output.stdout);
    for word in [
        "run",
        "submit",
        "ls",
        "get",
        "logs",
        "wait",
        "cancel",
        "retry",
        "rm",
        "workers",
        "up",
        "master",
        "worker",
        "images",
        "token",
        "doctor",
        "top",
        "man",
        "completion",
        "125",
        "@latest",
    ] {
        assert!(help.contains(word), "{word} is missing in:\n{help}");
    }
}

#[tokio::test]
async fn wrong_usage_ends_with_2() {
    for arguments in [&["dance"][..], &["run"], &["run", "ls", "-x"], &["get"]] {
        let output = orchestra(arguments, &[]).await;
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(text(&output.stderr).contains("Usage"), "{output:?}");
    }
    let output = orchestra(&["run", "true"], &[("ORCHESTRA_LISTEN", "everywhere")]).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[tokio::test]
async fn completions_are_scripts() {
    for shell in ["bash", "zsh", "fish"] {
        let output = orchestra(&["completion", shell], &[]).await;
        assert!(output.status.success() && text(&output.stdout).contains("orchestra"));
    }
}

#[tokio::test]
async fn manual_pages_are_printed_and_written() {
    let page = orchestra(&["man", "images", "ls"], &[]).await;
    assert!(page.status.success() && text(&page.stdout).contains(".TH orchestra-images-ls 1"));
    let folder = TempDir::new().unwrap();
    let to = folder.path().join("man1");
    let written = orchestra(&["man", "--to", to.to_str().unwrap()], &[]).await;
    assert!(written.status.success(), "{written:?}");
    assert!(to.join("orchestra-run.1").exists() && to.join("orchestra-token-create.1").exists());
    let wrong = orchestra(&["man", "dance"], &[]).await;
    assert_eq!(wrong.status.code(), Some(125));
    assert!(sentence(&wrong).starts_with("there is no verb dance"), "{wrong:?}");
}

#[tokio::test]
async fn no_master_is_a_sentence() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for arguments in [&["ls"][..], &["get", "1"], &["run", "true"], &["workers"], &["top"]] {
        let output = orchestra(arguments, &[("ORCHESTRA_URL", &url)]).await;
        let said = sentence(&output);
        assert!(said.starts_with(&format!("no answer from {url}: Connection refused")), "{said}");
        assert!(said.contains("orchestra up"), "{said}");
    }
}

#[tokio::test]
async fn a_refusal_is_passed_on() {
    let problem = json!({
        "type": "urn:orchestra:problem:not-found", "title": "t", "status": 404,
        "detail": "there is no job 7\u{1b}[2J",
    });
    let answer = any(move || async move { (StatusCode::NOT_FOUND, Json(problem)) });
    let server = Server::start(Router::new().fallback(answer)).await;
    for verb in ["get", "logs", "wait", "cancel", "retry", "rm"] {
        let output = orchestra(&[verb, "7", "--url", &server.url()], &[]).await;
        assert_eq!(sentence(&output), "there is no job 7\\u{1b}[2J", "{verb}");
    }
}

#[tokio::test]
async fn each_of_several_jobs_gets_its_turn() {
    let job = |id: i64| {
        json!({"id": id, "command": "true", "queue": "default", "status": "Pending",
            "assignedWorker": null, "retryCount": 0, "attempt": null, "output": "", "error": "",
            "outputTruncated": false, "exitCode": null, "outcome": null, "reason": null,
            "usage": null, "createdAt": "2026-01-01T00:00:00Z", "startedAt": null,
            "finishedAt": null})
    };
    let missing = json!({
        "type": "urn:orchestra:problem:not-found", "title": "t", "status": 404, "detail": "gone",
    });
    let handler = async move |axum::extract::Path(id): axum::extract::Path<i64>| match id {
        2 => (StatusCode::NOT_FOUND, Json(missing)),
        id => (StatusCode::OK, Json(job(id))),
    };
    let router = Router::new().route(paths::CANCEL, axum::routing::post(handler));
    let server = Server::start(router).await;
    let output = orchestra(&["cancel", "1", "2", "3", "--url", &server.url()], &[]).await;
    assert_eq!(output.status.code(), Some(125));
    assert_eq!(text(&output.stdout), "1\n3\n");
    assert_eq!(text(&output.stderr), "orchestra: gone\n");
}

#[tokio::test]
async fn a_port_that_somebody_else_uses_is_told() {
    let server = Server::start(Router::new().fallback(get(Html("<h1>It works!</h1>")))).await;
    let address = server.address.to_string();
    let output = orchestra(&["run", "true"], &[("ORCHESTRA_LISTEN", &address)]).await;
    let said = sentence(&output);
    assert!(said.contains(&address) && said.contains("no master"), "{said}");
    for verb in ["up", "master"] {
        let output = orchestra(&[verb], &[("ORCHESTRA_LISTEN", &address)]).await;
        let said = sentence(&output);
        assert!(said.contains(&address) && said.contains("already"), "{said}");
    }
}

#[tokio::test]
async fn no_engine_is_one_sentence_and_leaves_nothing_running() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let variables = [
        ("ORCHESTRA_LISTEN", address.as_str()),
        ("DOCKER_HOST", "unix:///nonexistent/docker.sock"),
    ];
    for arguments in [&["run", "true"][..], &["up"], &["images"]] {
        let output = orchestra(arguments, &variables).await;
        let said = sentence(&output);
        assert!(said.contains("/nonexistent/docker.sock"), "{said}");
    }
}

#[tokio::test]
async fn doctor_names_each_fault_with_its_cure() {
    let variables = [
        ("ORCHESTRA_URL", "http://127.0.0.1:1"),
        ("DOCKER_HOST", "unix:///nonexistent/docker.sock"),
    ];
    let output = orchestra(&["doctor", "-o", "json"], &variables).await;
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    let findings: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    for name in ["engine", "master"] {
        let finding = findings.iter().find(|finding| finding["name"] == name).unwrap();
        assert_eq!(finding["ok"], false, "{finding}");
        assert!(!finding["fix"].as_str().unwrap().is_empty(), "{finding}");
    }
    let output = orchestra(&["doctor"], &variables).await;
    assert!(text(&output.stdout).contains("to mend it: orchestra up"), "{output:?}");
}

#[tokio::test]
async fn doctor_notices_that_a_token_is_needed() {
    let problem = json!({
        "type": "urn:orchestra:problem:unauthenticated", "title": "t", "status": 401,
        "detail": "the token is not valid",
    });
    let refuse = async move || (StatusCode::UNAUTHORIZED, Json(problem));
    let router = Router::new()
        .route(paths::HEALTHZ, get(async || Json(json!({"status": "alive"}))))
        .route(paths::WORKERS, get(refuse));
    let server = Server::start(router).await;
    let output = orchestra(&["doctor", "-o", "json", "--url", &server.url()], &[]).await;
    let findings: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let finding = findings.iter().find(|finding| finding["name"] == "master").unwrap();
    assert_eq!(finding["ok"], false, "{finding}");
    assert!(finding["fix"].as_str().unwrap().contains("ORCHESTRA_TOKEN_FILE"), "{finding}");
}

#[tokio::test]
async fn a_token_is_never_repeated_by_those_who_cannot_use_it() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "hunter2\n").unwrap();
    let file = path.to_str().unwrap();
    for variables in [[("ORCHESTRA_TOKEN", "hunter2")], [("ORCHESTRA_TOKEN_FILE", file)]] {
        for verb in ["ls", "worker", "doctor"] {
            let output = orchestra(&[verb], &variables).await;
            let said = sentence(&output);
            assert!(said.contains("token") && !said.contains("hunter2"), "{verb}: {said}");
        }
    }
    let help = orchestra(&["token", "ls", "--help"], &[("ORCHESTRA_TOKEN", "hunter2")]).await;
    assert!(!text(&help.stdout).contains("hunter2"), "{help:?}");
}

#[tokio::test]
async fn a_job_is_submitted_from_a_file() {
    let (sender, mut bodies) = tokio::sync::mpsc::channel(1);
    let handler = async move |Json(body): Json<serde_json::Value>| {
        sender.send(body).await.unwrap();
        StatusCode::BAD_GATEWAY
    };
    let server =
        Server::start(Router::new().route(paths::JOBS, axum::routing::post(handler))).await;
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| {
        let path: &Path = folder.path();
        std::fs::write(path.join(name), text).unwrap();
        path.join(name).display().to_string()
    };
    let good = write("job.json", r#"{"command": "make", "maxRetries": 2}"#);
    let url = server.url();
    let output = orchestra(&["submit", "--file", &good, "--url", &url], &[]).await;
    assert!(sentence(&output).contains("502"));
    let body = bodies.recv().await.unwrap();
    assert_eq!((&body["command"], &body["maxRetries"]), (&json!("make"), &json!(2)));

    let bad = write("bad.json", r#"{"command": "make", "maxRetry": 2}"#);
    let output = orchestra(&["submit", "-f", &bad, "--url", &url], &[]).await;
    assert!(sentence(&output).contains("unknown field `maxRetry`"));
}
