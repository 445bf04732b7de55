//! The catalogue of bad inputs, each with the expected answer. Rows are data, with one file for each
//! family. Every answer is a problem that says what is wrong, never a 5xx, and nothing is stored.

mod addresses;
mod bodies;
mod headers;
mod reports;
mod schedules;
mod specs;
mod tokens;
mod wire;

use axum::body::Body;
use serde_json::json;

use crate::harness::{Master, Reply, request};

const JSON: &str = "application/json";
const JOBS: &str = "/api/job";
const SCHEDULES: &str = "/api/schedule";
const CLAIM: &str = "/api/job/claim";
const UPDATE: &str = "/api/job/update";

/// A request, with the expected status and problem.
#[derive(Clone, Copy, Debug)]
struct Row {
    method: &'static str,
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    status: u16,
    kind: &'static str,
    /// JSON pointer of the first error; only for 422.
    pointer: &'static str,
}

/// A request without a body.
const fn ask(method: &'static str, path: &'static str, status: u16, kind: &'static str) -> Row {
    Row { method, path, headers: &[], body: "", status, kind, pointer: "" }
}

/// JSON that is refused before its meaning is checked, or because of the job's state.
const fn post(path: &'static str, body: &'static str, status: u16, kind: &'static str) -> Row {
    let headers = &[("content-type", JSON)];
    Row { method: "POST", path, headers, body, status, kind, pointer: "" }
}

/// JSON with an invalid field.
const fn invalid(path: &'static str, body: &'static str, pointer: &'static str) -> Row {
    Row { pointer, ..post(path, body, 422, "invalid") }
}

impl Row {
    const fn with(self, headers: &'static [(&'static str, &'static str)]) -> Self {
        Self { headers, ..self }
    }

    const fn put(self) -> Self {
        Self { method: "PUT", ..self }
    }

    const fn patch(self) -> Self {
        Self { method: "PATCH", ..self }
    }

    async fn sent_to(&self, master: &Master) -> Reply {
        let mut request = request(self.method, self.path);
        for (name, value) in self.headers {
            request = request.header(*name, *value);
        }
        master.send(request.body(Body::from(self.body)).unwrap()).await
    }

    /// What is wrong with the answer, if anything.
    fn wrong(&self, reply: &Reply) -> Option<String> {
        let sent = format!("{} {} {:?}", self.method, self.path, self.body);
        if reply.status.is_success() {
            return Some(format!("{sent}: {reply:?}"));
        }
        let problem = reply.problem();
        let pointer = reply.json()["errors"][0]["pointer"].as_str().map(str::to_owned);
        let is = (reply.status.as_u16(), problem.as_str(), pointer.unwrap_or_default());
        let due = (self.status, self.kind, self.pointer.to_owned());
        let allowed = reply.header("allow");
        let well = is == due
            && is_harmless(reply)
            && (self.status != 405 || (!allowed.is_empty() && !allowed.contains(self.method)));
        (!well).then(|| format!("{sent}: {reply:?}"))
    }
}

/// Whether the answer holds no control characters and does not echo everything that was sent.
fn is_harmless(reply: &Reply) -> bool {
    reply.body.len() < 4096 && !reply.body.iter().any(u8::is_ascii_control)
}

#[track_caller]
fn refused(reply: &Reply, status: u16, kind: &str, what: &str) {
    let problem = reply.problem();
    assert_eq!((reply.status.as_u16(), problem.as_str()), (status, kind), "{what}: {reply:?}");
    assert!(is_harmless(reply), "{what}: {reply:?}");
}

/// Sends every row to a master with one job, and checks that the job is unchanged.
async fn check(rows: &[Row]) {
    let master = Master::start().await;
    master.submit(json!({"command": "true"})).await;
    let mut wrong = Vec::new();
    for row in rows {
        wrong.extend(row.wrong(&row.sent_to(&master).await));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    nothing_changed(&master).await;
}

async fn nothing_changed(master: &Master) {
    let jobs = master.get(JOBS).await.json();
    assert_eq!(jobs.as_array().unwrap().len(), 1, "something was stored: {jobs}");
    assert_eq!(jobs[0]["status"], "Pending", "{jobs}");
}

/// Prints the size of the catalogue for docs/security.md: run with `--nocapture`.
#[test]
fn the_catalogue_has_no_fewer_rows_than_it_is_said_to_have() {
    let families = [
        ("addresses", addresses::ROWS.len()),
        ("bodies", bodies::ROWS.len()),
        ("specs", specs::ROWS.len()),
        ("schedules", schedules::ROWS.len()),
        ("reports of workers", reports::ROWS.len()),
        ("headers", headers::ROWS.len()),
        ("tokens", tokens::HEADERS.len()),
        ("bytes on the wire", wire::rows().len()),
    ];
    let rows: usize = families.iter().map(|(_, rows)| rows).sum();
    println!("{rows} bad inputs: {families:?}");
    assert!(rows >= 200, "{rows}");
}
