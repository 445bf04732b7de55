//! What is looked at more than once, or from two sides.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    http::{HeaderValue, StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use orchestra_contracts::paths;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    time::timeout,
};

use crate::{
    own::Server,
    support::{orchestra, start},
};

#[tokio::test]
async fn doctor_compares_its_clock_with_the_masters() {
    for (date, ok) in [(None, true), (Some("Sun, 06 Nov 1994 08:49:37 GMT"), false)] {
        let alive = move || async move {
            let mut response = Json(json!({"status": "alive"})).into_response();
            if let Some(date) = date {
                response.headers_mut().insert(header::DATE, HeaderValue::from_static(date));
            }
            response
        };
        let router = Router::new()
            .route(paths::HEALTHZ, get(alive))
            .route(paths::WORKERS, get(async || Json(json!([]))));
        let server = Server::start(router).await;
        let output = orchestra(&["doctor", "-o", "json", "--url", &server.url()], &[]).await;
        let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        let finding = findings.iter().find(|finding| finding["name"] == "clock").unwrap();
        assert_eq!(finding["ok"], ok, "{finding}");
        assert_eq!(finding["fix"].is_string(), !ok, "{finding}");
    }
}

/// The master comes and goes, and jobs change meanwhile: what has changed is written below.
#[tokio::test]
async fn a_watched_list_goes_on_below_where_there_is_no_terminal() {
    let job = |id: i64, status: &str| {
        json!({"id": id, "command": "true", "queue": "default", "status": status,
            "assignedWorker": null, "retryCount": 0, "attempt": null, "output": "", "error": "",
            "outputTruncated": false, "exitCode": null, "outcome": null, "reason": null,
            "usage": null, "createdAt": "2026-01-01T00:00:00Z", "startedAt": null,
            "finishedAt": null})
    };
    let looks = Arc::new(AtomicUsize::new(0));
    let list = move || async move {
        let look = looks.fetch_add(1, Ordering::Relaxed);
        let status = if look < 4 { "Pending" } else { "Cancelled" };
        match look {
            2 => Err(StatusCode::BAD_GATEWAY),
            look if look < 2 => Ok(Json(json!([job(1, status)]))),
            _ => Ok(Json(json!([job(2, "Pending"), job(1, status)]))),
        }
    };
    let server = Server::start(Router::new().route(paths::JOBS, get(list))).await;
    let arguments = ["ls", "--watch", "--interval", "100ms", "-o", "name", "--url", &server.url()];
    let mut watching = start(&arguments);
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let line = timeout(Duration::from_mins(1), lines.next_line()).await.expect("it goes on");
        seen.push(line.unwrap().expect("it does not end"));
    }
    assert_eq!(seen, ["1", "2", "1"]);
    watching.kill().await.unwrap();
    let both = orchestra(&["ls", "--watch", "--all"], &[]).await;
    assert_eq!(both.status.code(), Some(2), "{both:?}");
}
