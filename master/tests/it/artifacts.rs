//! Artifacts: workers upload them in pieces. Once the attempt has ended, people list them and
//! download one, a part of one, or all as an archive.

mod fetch;
mod upload;

use axum::body::{Body, Bytes};
use orchestra_contracts::{
    AttemptNo, JobId,
    files::{Artifact, Artifacts, AttemptChanges},
    worker::{ARTIFACT_PIECE, Claimed, LEASE_HEADER},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::harness::{LEASE, Master, Reply, request};

const OCTETS: &str = "application/octet-stream";

fn artifact(path: &str, content: &[u8]) -> Artifact {
    let (path, bytes) = (path.to_owned(), content.len() as u64);
    Artifact { path, bytes, sha256: hex::encode(Sha256::digest(content)), executable: false }
}

/// A path, percent-encoded for a URL.
fn escaped(path: &str) -> String {
    utf8_percent_encode(path, NON_ALPHANUMERIC).to_string()
}

impl Master {
    async fn keeping(&self) -> Claimed {
        self.running(json!({"command": "true", "artifacts": ["**/*"]})).await
    }

    async fn piece(&self, claimed: &Claimed, path: &str, offset: u64, content: &[u8]) -> Reply {
        let (JobId(id), AttemptNo(attempt)) = (claimed.job.id, claimed.lease.attempt);
        let path = escaped(path);
        let path = format!(
            "/api/job/{id}/attempts/{attempt}/artifacts?path={path}&offset={offset}&worker=w"
        );
        let request = request("POST", &path)
            .header("content-type", OCTETS)
            .header(LEASE_HEADER, claimed.lease.token.as_str());
        let content = Bytes::copy_from_slice(content);
        self.send(request.body(Body::from(content)).unwrap()).await
    }

    /// Uploads a whole file as a worker does.
    async fn put(&self, claimed: &Claimed, path: &str, content: &[u8]) -> Artifact {
        let mut offset = 0;
        loop {
            let end = content.len().min(offset + ARTIFACT_PIECE);
            let reply = self.piece(claimed, path, offset as u64, &content[offset..end]).await;
            assert_eq!(reply.json(), json!({"offset": end}), "{reply:?}");
            offset = end;
            if offset == content.len() {
                return artifact(path, content);
            }
        }
    }

    async fn ends_with(&self, claimed: &Claimed, artifacts: &[Artifact]) -> Reply {
        self.report(claimed, "w", json!({"status": "Completed", "artifacts": artifacts})).await
    }

    /// Uploads files and ends the attempt with them.
    async fn left(&self, files: &[(&str, &[u8])]) -> i64 {
        let claimed = self.keeping().await;
        let mut artifacts = Vec::new();
        for (path, content) in files {
            artifacts.push(self.put(&claimed, path, content).await);
        }
        assert_eq!(self.ends_with(&claimed, &artifacts).await.status, 200);
        claimed.job.id.0
    }

    async fn fetch(&self, id: i64, path: &str, headers: &[(&str, &str)]) -> Reply {
        let address = format!("/api/job/{id}/artifacts/{}", escaped(path));
        let mut request = request("GET", &address);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }
}

#[tokio::test]
async fn the_page_of_a_job_leads_to_what_is_kept_of_it() {
    let master = Master::start().await;
    let hostile = "out/<b>\u{202e}& x.txt";
    let id = master.left(&[("plain.txt", b"text"), (hostile, b"more")]).await;
    let page = master.get(&format!("/jobs/{id}")).await.text();
    assert!(!page.contains("<b>") && page.contains("&lt;b&gt;<span class=\"mark\">U+202E</span>"));
    let addresses: Vec<_> = page
        .split("href=\"")
        .filter_map(|rest| rest.split('"').next())
        .filter(|address| address.contains("/artifacts"))
        .map(|address| address.replace("&amp;", "&"))
        .collect();
    let [odd, plain, tar] = &addresses[..] else { panic!("{addresses:?}") };
    assert!(tar.contains("format=tar"), "{addresses:?}");
    assert_eq!(master.get(odd).await.text(), "more");
    assert_eq!(master.get(plain).await.text(), "text");
    // The page of a job without artifacts has no such section.
    let bare = master.submit(json!({"command": "true"})).await;
    assert!(!master.get(&format!("/jobs/{bare}")).await.text().contains("SHA-256"));
}

#[tokio::test]
async fn what_a_job_left_is_listed_and_fetched() {
    let master = Master::start().await;
    let claimed = master.keeping().await;
    let large: Vec<u8> = (0..=250).cycle().take(2 * ARTIFACT_PIECE + 12_345).collect();
    let names = ["build/a.bin", "empty", "a b/ä%2f?#&+", "-rf"];
    let contents = [&large[..], b"", b"text\n", &[0, 255]];
    let mut left = Vec::new();
    for (name, content) in names.into_iter().zip(contents) {
        left.push(master.put(&claimed, name, content).await);
    }
    left[0].executable = true;
    let early = master.get("/api/job/1/artifacts").await;
    assert_eq!((early.status.as_u16(), early.problem().as_str()), (404, "not-found"), "{early:?}");
    assert_eq!(master.ends_with(&claimed, &left).await.json()["status"], "Completed");

    let listed: Artifacts = master.get("/api/job/1/artifacts").await.read();
    left.sort_by(|a, b| a.path.cmp(&b.path));
    assert_eq!(listed, Artifacts { attempt: AttemptNo(1), artifacts: left });
    for (name, content) in names.into_iter().zip(contents) {
        let reply = master.fetch(1, name, &[]).await;
        assert_eq!(reply.status, 200, "{name}");
        assert!(reply.body == content, "{name}");
        assert_eq!(reply.header("content-length"), content.len().to_string());
        assert_eq!(reply.header("content-type"), OCTETS);
        let tag = format!("\"{}\"", hex::encode(Sha256::digest(content)));
        assert_eq!(reply.header("etag"), tag);
        assert!(reply.header("repr-digest").starts_with("sha-256=:"));
    }
    let as_written = master.get("/api/job/1/artifacts/build/a.bin?attempt=1").await;
    assert!(as_written.body == large);
    let head = master.bare("HEAD", "/api/job/1/artifacts/build/a.bin").await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), large.len().to_string());
}

#[tokio::test]
async fn each_attempt_has_its_own_and_the_last_that_ended_is_shown() {
    let master = Master::start().await;
    let spec = json!({"command": "false", "maxRetries": 1, "artifacts": ["*"]});
    let first = master.running(spec).await;
    let left = [master.put(&first, "a", b"first").await];
    let failed = json!({"status": "Failed", "exitCode": 1, "artifacts": left});
    assert_eq!(master.report(&first, "w", failed).await.json()["status"], "Pending");
    master.clock.advance(LEASE);
    let second = master.claim("w").await.unwrap();
    let left = [master.put(&second, "a", b"second").await];
    assert_eq!(master.fetch(1, "a", &[]).await.body, "first", "the second goes on");
    let ahead = master.get("/api/job/1/artifacts?attempt=2").await;
    assert_eq!((ahead.status.as_u16(), ahead.problem().as_str()), (404, "not-found"));
    assert_eq!(master.get("/api/job/1/artifacts?attempt=3").await.status, 404);
    assert_eq!(master.ends_with(&second, &left).await.status, 200);
    assert_eq!(master.fetch(1, "a", &[]).await.body, "second");
    assert_eq!(master.get("/api/job/1/artifacts/a?attempt=1").await.body, "first");
    assert_eq!(master.bare("DELETE", "/api/job/1").await.status, 204);
    assert_eq!(master.get("/api/job/1/artifacts/a").await.status, 404);
}

#[tokio::test]
async fn who_has_none_is_told_what_to_do() {
    let master = Master::start().await;
    let hint = async |path: &str| {
        let reply = master.get(path).await;
        assert_eq!((reply.status.as_u16(), reply.problem().as_str()), (404, "not-found"));
        let Value::Object(problem) = reply.json() else { panic!("{reply:?}") };
        format!("{} ({})", problem["detail"], problem["hint"])
    };
    let plain = master.running(json!({"command": "true"})).await;
    assert!(hint("/api/job/1/artifacts").await.contains("give it \\\"artifacts\\\""));
    assert!(hint("/api/job/1/changes").await.contains("?wait=30s"));
    master.report(&plain, "w", json!({"status": "Completed"})).await;
    assert!(hint("/api/job/1/changes").await.contains("its worker did not say"));
    master.left(&[]).await;
    let none: Artifacts = master.get("/api/job/2/artifacts").await.read();
    assert_eq!(none.artifacts, []);
    assert!(hint("/api/job/2/artifacts/a").await.contains("left no artifact"));
}

#[tokio::test]
async fn what_changed_is_told_as_the_worker_said_it() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "true"})).await;
    let changes = json!({"created": ["a", "b\u{1b}"], "modified": ["c"], "more": 3});
    let end = json!({"status": "Failed", "exitCode": 1, "changes": changes});
    assert_eq!(master.report(&claimed, "w", end).await.status, 200);
    let told = master.get("/api/job/1/changes").await;
    let due = json!({
        "attempt": 1, "created": ["a", "b\u{1b}"], "modified": ["c"], "deleted": [], "more": 3,
        "incomplete": false,
    });
    assert_eq!(told.json(), due);
    assert_eq!(told.read::<AttemptChanges>().attempt, AttemptNo(1));

    let claimed = master.running(json!({"command": "true"})).await;
    let many: Vec<_> = (0..1001).map(|number| number.to_string()).collect();
    let end = json!({"status": "Completed", "changes": {"created": many}});
    let reply = master.report(&claimed, "w", end).await;
    assert_eq!((reply.status.as_u16(), reply.problem().as_str()), (422, "invalid"));
    assert_eq!(reply.json()["errors"][0]["pointer"], "/changes/created");
}
