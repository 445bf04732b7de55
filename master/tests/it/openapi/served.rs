//! Makes every described call with each example of its body, in an order in which all can succeed.
//! Every field of the answers must be described.

use std::collections::BTreeSet;

use axum::{body::Body, http::Request};
use orchestra_contracts::{
    Job,
    worker::{Claimed, LEASE_HEADER},
};
use serde_json::{Value, json};

use super::{description, faults, operations};
use crate::harness::{Master, Reply, encode, out, request};

/// The operation's id, and its path where the description's example does not fit.
type Step = (&'static str, &'static str);

/// Job 1 is claimed by name and ended with the examples. The job with artifacts, written as `{kept}`,
/// is run by a worker in this test.
const BEFORE: &[Step] = &[
    ("getHealth", ""),
    ("getReadiness", ""),
    ("getDescription", ""),
    ("registerWorker", ""),
    ("sendHeartbeat", ""),
    ("awaitOrders", ""),
    ("createWebhook", ""),
    ("uploadFile", ""),
    ("getUpload", ""),
    ("submitJobs", ""),
    ("listPendingJobs", ""),
    ("claimJobs", ""),
    ("updateJob", ""),
];
const AFTER: &[Step] = &[
    ("listJobs", ""),
    ("getJob", "/api/job/1"),
    ("explainJob", ""),
    ("getLogHead", ""),
    ("getLog", ""),
    ("getRepro", "/api/job/{kept}/repro"),
    ("listAttempts", "/api/job/{kept}/attempts"),
    ("listArtifacts", "/api/job/{kept}/artifacts"),
    ("getArtifact", "/api/job/{kept}/artifacts/build/a.tar.gz"),
    ("getChanges", "/api/job/{kept}/changes"),
    ("retryJob", ""),
    ("cancelJob", ""),
    ("deleteJob", ""),
    ("listWorkers", ""),
    ("drainWorker", ""),
    ("undrainWorker", ""),
    ("changeQueue", ""),
    ("listQueues", ""),
    ("createSchedule", ""),
    ("listSchedules", ""),
    ("getSchedule", ""),
    ("changeSchedule", ""),
    ("deleteSchedule", ""),
    ("createToken", ""),
    ("listTokens", ""),
    ("revokeToken", ""),
    ("listWebhooks", ""),
    ("getWebhook", ""),
    ("listDeliveries", ""),
    ("redeliver", ""),
    ("deleteWebhook", ""),
    ("getMetrics", ""),
];

struct Walk {
    master: Master,
    description: Value,
    made: BTreeSet<String>,
    kept: i64,
}

impl Walk {
    /// Makes a call with each of its examples. `place` is the path, if the examples do not suffice.
    async fn step(&mut self, name: &str, place: &str) {
        let description = self.description.clone();
        let all = operations(&description);
        let found = all.iter().find(|(_, _, operation)| operation["operationId"] == name);
        let (method, path, operation) = found.unwrap_or_else(|| panic!("there is no {name}"));
        let place = if place.is_empty() { filled(path, operation) } else { place.to_owned() };
        let place = place.replace("{kept}", &self.kept.to_string());
        let body = &operation["requestBody"]["content"]["application/json"];
        let mut examples: Vec<_> = body["examples"].as_object().into_iter().flatten().collect();
        examples.sort_by_key(|(_, example)| example["value"].to_string().len());
        let bodies: Vec<_> = examples.into_iter().map(|(_, example)| &example["value"]).collect();
        for body in &bodies {
            let wrong = faults(
                &description,
                &operation["requestBody"]["content"]["application/json"]["schema"],
                body,
            );
            assert!(wrong.is_empty(), "{name}: {body}: {}", wrong.join("; "));
            let reply = self.master.send_json(method, &place, body).await;
            self.look_at(name, operation, &reply);
        }
        let is_file = !operation["requestBody"]["content"]["application/octet-stream"].is_null();
        if is_file {
            // The content whose hash is in the path's example.
            let request =
                request(method, &place).header("content-type", "application/octet-stream");
            let reply = self.master.send(request.body(Body::from("a program")).unwrap()).await;
            self.look_at(name, operation, &reply);
        } else if bodies.is_empty() {
            let reply = self.master.bare(method, &place).await;
            self.look_at(name, operation, &reply);
        }
    }

    async fn send(&mut self, name: &str, request: Request<Body>) {
        let description = self.description.clone();
        let all = operations(&description);
        let (_, _, operation) = all.iter().find(|it| it.2["operationId"] == name).unwrap();
        let reply = self.master.send(request).await;
        self.look_at(name, operation, &reply);
    }

    fn look_at(&mut self, name: &str, operation: &Value, reply: &Reply) {
        assert!(reply.status.is_success(), "{name}: {reply:?}");
        let answer = &operation["responses"][reply.status.as_str()];
        assert!(!answer.is_null(), "{name}: {reply:?}");
        let kind = reply.header("content-type");
        let content = &answer["content"];
        assert_eq!(content.is_null(), reply.body.is_empty(), "{name}: {reply:?}");
        assert!(content.is_null() || !content[kind].is_null(), "{name}: {kind}");
        if kind == "application/json" {
            let mut strict = self.description.clone();
            let mut schema = content[kind]["schema"].clone();
            close(&mut strict["components"]);
            if name != "getDescription" {
                close(&mut schema);
            }
            let wrong = faults(&strict, &schema, &reply.json());
            assert!(wrong.is_empty(), "{name}: {}: {}", wrong.join("; "), reply.text());
        }
        self.made.insert(name.to_owned());
    }

    /// Claims until such a job is found; jobs claimed before it stay claimed.
    async fn claim(&self, is_it: fn(&Job) -> bool) -> Claimed {
        loop {
            let claimed = self.master.claim("box-1").await.expect("there is such a job");
            if is_it(&claimed.job) {
                return claimed;
            }
        }
    }

    /// Acts as a worker that uploads output and an artifact, and ends the attempt with them.
    async fn work(&mut self) {
        let claimed = self.claim(|job| !job.spec.artifacts.is_empty()).await;
        self.kept = claimed.job.id.0;
        let upload = |kind: &str, body: Body| {
            let path = format!("/api/job/{}/attempts/1/{kind}&worker=box-1", claimed.job.id);
            let request = request("POST", &path).header("content-type", "application/octet-stream");
            request.header(LEASE_HEADER, claimed.lease.token.as_str()).body(body).unwrap()
        };
        let frames = encode(&[out("Hello, World!\n")]);
        self.send("appendLog", upload("log?offset=0", Body::from(frames.clone()))).await;
        let head = self.master.get(&format!("/api/job/{}/attempts/1/log", self.kept)).await.json();
        let piece = upload("artifacts?path=build%2Fa.tar.gz&offset=0", Body::from("content"));
        self.send("appendArtifact", piece).await;
        let ran = self.description["components"]["schemas"]["Ran"]["examples"][0].clone();
        let reply =
            self.master.report(&claimed, "box-1", json!({"status": "Running", "ran": ran})).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        // The example of a report, adapted to what was really sent.
        let mut report =
            self.description["components"]["schemas"]["JobUpdate"]["examples"][0].clone();
        let fields = report.as_object_mut().unwrap();
        for field in ["output", "error", "ran", "rest"] {
            fields.remove(field);
        }
        let sha = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73";
        fields.insert("id".into(), json!(self.kept));
        fields.insert("leaseToken".into(), json!(claimed.lease.token));
        fields.insert("log".into(), json!({"offset": head["offset"], "crc32": head["crc32"]}));
        fields.insert(
            "artifacts".into(),
            json!([{"path": "build/a.tar.gz", "bytes": 7, "sha256": sha, "executable": false}]),
        );
        let request = request("POST", "/api/job/update").header("content-type", "application/json");
        self.send("updateJob", request.body(Body::from(report.to_string())).unwrap()).await;
    }
}

/// The path with the example values of its parameters and of required query parameters.
fn filled(path: &str, operation: &Value) -> String {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    parameters.fold(path.to_owned(), |path, one| {
        let name = format!("{{{}}}", one["name"].as_str().unwrap());
        path.replace(&name, one["example"].to_string().trim_matches('"'))
    })
}

/// Forbids fields that are not described.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.contains_key("properties") && !fields.contains_key("additionalProperties") {
                fields.insert("additionalProperties".into(), json!(false));
            }
            fields.values_mut().for_each(close);
        }
        Value::Array(all) => all.iter_mut().for_each(close),
        _ => {}
    }
}

#[tokio::test]
async fn every_example_is_served_and_every_answer_is_described_to_the_last_field() {
    let master = Master::start().await;
    let mut walk = Walk { master, description: description(), made: BTreeSet::new(), kept: 0 };
    for (name, place) in BEFORE {
        walk.step(name, place).await;
    }
    walk.work().await;
    // A job whose end triggers the example's webhook.
    let failing = json!({"command": "false", "labels": {"team": "core"}});
    walk.master.submit(failing).await;
    let claimed = walk.claim(|job| job.spec.labels.contains_key("team")).await;
    let ended =
        walk.master.report(&claimed, "box-1", json!({"status": "Failed", "exitCode": 1})).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    for (name, place) in AFTER {
        walk.step(name, place).await;
    }
    let description = description();
    let all: BTreeSet<_> = operations(&description)
        .iter()
        .map(|it| it.2["operationId"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(walk.made, all);
}
