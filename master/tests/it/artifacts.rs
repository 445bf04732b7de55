//! Files that attempts leave: uploaded in pieces, there for people when the attempt has ended,
//! listed, fetched one by one, in part, or all as one archive.

use std::{collections::BTreeMap, io::Read as _, sync::Arc};

use axum::body::{Body, Bytes};
use orchestra_contracts::{
    AttemptNo, JobId, Size,
    files::{Artifact, Artifacts, AttemptChanges},
    worker::{ARTIFACT_PIECE, Claimed, LEASE_HEADER},
};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

use crate::{
    faulty::{Fault, Plan},
    harness::{LEASE, Master, Reply, encode, out, request, soon},
};

const OCTETS: &str = "application/octet-stream";

fn artifact(path: &str, content: &[u8]) -> Artifact {
    let (path, bytes) = (path.to_owned(), content.len() as u64);
    Artifact { path, bytes, sha256: hex::encode(Sha256::digest(content)), executable: false }
}

/// A path as it stands in an address.
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

    /// All of a file, as a worker sends it.
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

    /// Puts files and ends the attempt with them.
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
    // A job that keeps nothing has no such place.
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
async fn a_part_of_a_file_can_be_asked_for() {
    let master = Master::start().await;
    let content: Vec<u8> = (0..=250).cycle().take(ARTIFACT_PIECE + 1000).collect();
    let id = master.left(&[("a", &content), ("empty", b"")]).await;
    let edge = ARTIFACT_PIECE - 5;
    for (range, first, end) in [
        ("bytes=0-3".to_owned(), 0, 4),
        (format!("bytes={edge}-{}", edge + 9), edge, edge + 10),
        ("bytes=-10".to_owned(), content.len() - 10, content.len()),
        (format!("bytes={ARTIFACT_PIECE}-"), ARTIFACT_PIECE, content.len()),
    ] {
        let reply = master.fetch(id, "a", &[("range", &range)]).await;
        assert_eq!(reply.status, 206, "{range}: {:?}", reply.headers);
        assert!(reply.body == content[first..end], "{range}");
        let told = format!("bytes {first}-{}/{}", end - 1, content.len());
        assert_eq!(reply.header("content-range"), told);
        assert_eq!(reply.header("content-length"), (end - first).to_string());
    }
    let beyond = master.fetch(id, "a", &[("range", "bytes=9999999-")]).await;
    assert_eq!((beyond.status.as_u16(), beyond.problem().as_str()), (416, "range-not-satisfiable"));
    assert_eq!(beyond.header("content-range"), format!("bytes */{}", content.len()));
    assert_eq!(master.fetch(id, "empty", &[("range", "bytes=0-")]).await.status, 416);
    // Whoever has the beginning of another file gets all of this one.
    let tag = format!("\"{}\"", hex::encode(Sha256::digest(&content)));
    for (tag, status) in [(tag.as_str(), 206), ("\"other\"", 200)] {
        let headers = [("range", "bytes=0-3"), ("if-range", tag)];
        assert_eq!(master.fetch(id, "a", &headers).await.status, status, "{tag}");
    }
}

#[tokio::test]
async fn all_of_them_come_as_one_archive() {
    let master = Master::start().await;
    let long = "deep/".repeat(60) + "file";
    let large: Vec<u8> = (0..=250).cycle().take(ARTIFACT_PIECE + 77).collect();
    let files = [
        ("a", &b"x"[..]),
        (long.as_str(), b"long"),
        ("ä/empty", b""),
        ("block", &[7; 512]),
        ("large", &large),
    ];
    let id = master.left(&files).await;
    let reply = master.get(&format!("/api/job/{id}/artifacts?format=tar")).await;
    assert_eq!(reply.header("content-type"), "application/x-tar");
    let name = format!("attachment; filename=\"job-{id}-attempt-1.tar\"");
    assert!(reply.header("content-disposition").starts_with(&name));
    let mut archive = tar::Archive::new(&reply.body[..]);
    let mut found = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        assert_eq!(entry.header().entry_type(), tar::EntryType::Regular);
        assert_eq!(entry.header().mode().unwrap(), 0o644);
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        found.insert(path, content);
    }
    let due: BTreeMap<_, _> =
        files.iter().map(|(path, content)| ((*path).to_owned(), content.to_vec())).collect();
    assert!(found == due, "{:?}", found.keys());
}

#[tokio::test]
async fn whatever_it_is_called_a_browser_saves_it_and_runs_nothing() {
    let master = Master::start().await;
    let names = ["x.html", "a\"; filename=\"b.exe", "ü\u{202e}gpj.exe", "back\\slash", "%00%0a;x"];
    let files: Vec<_> = names.iter().map(|name| (*name, &b"<script>"[..])).collect();
    let id = master.left(&files).await;
    for name in names {
        let reply = master.fetch(id, name, &[]).await;
        assert_eq!(reply.status, 200, "{name:?}");
        assert_eq!(reply.header("content-type"), OCTETS);
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert!(reply.header("content-security-policy").contains("sandbox"));
        let disposition = reply.header("content-disposition");
        let (first, second) = disposition.split_once("\"; filename*=UTF-8''").unwrap();
        let fallback = first.strip_prefix("attachment; filename=\"").unwrap();
        assert!(!fallback.contains(['"', '\\', '%']), "{disposition}");
        let decoded = percent_decode_str(second).decode_utf8().unwrap();
        assert_eq!(decoded, name);
    }
}

#[tokio::test]
async fn a_piece_comes_twice_late_or_too_early() {
    let master = Master::start().await;
    let claimed = master.keeping().await;
    master.put(&claimed, "a", b"abc").await;
    assert_eq!(master.piece(&claimed, "a", 1, b"bcde").await.json(), json!({"offset": 5}));
    assert_eq!(master.piece(&claimed, "a", 0, b"abc").await.json(), json!({"offset": 5}));
    for (path, offset, stored) in [("a", 6, 5), ("other", 1, 0)] {
        let hole = master.piece(&claimed, path, offset, b"x").await;
        assert_eq!((hole.status.as_u16(), hole.problem().as_str()), (409, "artifact-offset"));
        assert_eq!(hole.json()["artifact"], json!({"offset": stored}));
    }
    let two = vec![0; ARTIFACT_PIECE + 1];
    let large = master.piece(&claimed, "large", 0, &two).await;
    assert_eq!((large.status.as_u16(), large.problem().as_str()), (413, "too-large"));
    let left = [artifact("a", b"abcde")];
    assert_eq!(master.ends_with(&claimed, &left).await.status, 200);
    assert_eq!(master.ends_with(&claimed, &left).await.status, 200, "told again");
    assert_eq!(master.fetch(1, "a", &[]).await.body, "abcde");
}

#[tokio::test]
async fn an_attempt_ends_with_the_files_that_it_names_and_no_others() {
    let master = Master::start().await;
    let claimed = master.keeping().await;
    let whole = master.put(&claimed, "whole", b"abc").await;
    master.put(&claimed, "begun", b"ab").await;
    for (named, offset) in [
        (artifact("begun", b"abc"), 2),
        (artifact("never", b"x"), 0),
        (artifact("whole", b"abd"), 3),
    ] {
        let reply = master.ends_with(&claimed, &[named]).await;
        let is = (reply.status.as_u16(), reply.problem());
        assert_eq!(is, (409, "artifact-incomplete".to_owned()), "{reply:?}");
        assert_eq!(reply.json()["artifact"], json!({"offset": offset}));
    }
    assert_eq!(master.job(1).await["status"], "Running");
    assert_eq!(master.ends_with(&claimed, &[whole]).await.status, 200);
    let listed: Artifacts = master.get("/api/job/1/artifacts").await.read();
    assert_eq!(listed.artifacts.len(), 1);
    let gone = master.fetch(1, "begun", &[]).await;
    assert_eq!((gone.status.as_u16(), gone.problem().as_str()), (404, "not-found"));
}

#[tokio::test]
async fn only_the_holder_of_the_lease_uploads() {
    let master = Master::start().await;
    let claimed = master.keeping().await;
    master.put(&claimed, "a", b"x").await;
    let mut other = claimed.clone();
    other.lease.token = orchestra_contracts::LeaseToken::new("other");
    let wrong = master.piece(&other, "a", 1, b"y").await;
    assert_eq!((wrong.status.as_u16(), wrong.problem().as_str()), (409, "lease-lost"));
    let none = master.running(json!({"command": "true"})).await;
    let unasked = master.piece(&none, "a", 0, b"x").await;
    assert_eq!((unasked.status.as_u16(), unasked.problem().as_str()), (409, "illegal-step"));
    master.clock.advance(LEASE);
    master.service.expire_leases().await.unwrap();
    assert_eq!(master.piece(&claimed, "a", 1, b"y").await.problem(), "lease-lost");
    let stale = &master.get("/readyz").await.json()["stale"];
    assert_eq!(stale["artifacts"], 2);
}

#[tokio::test]
async fn what_is_too_much_is_left_out_and_the_rest_is_kept() {
    let master = Master::keeping_at_most(Size(10)).await;
    let claimed = master.keeping().await;
    let small = master.put(&claimed, "small", b"1234").await;
    assert_eq!(master.piece(&claimed, "large", 0, b"123456").await.status, 200);
    let beyond = master.piece(&claimed, "large", 6, b"7").await;
    assert_eq!((beyond.status.as_u16(), beyond.problem().as_str()), (413, "too-large"));
    assert!(beyond.json()["hint"].as_str().unwrap().contains("ORCHESTRA_ARTIFACTS_LIMIT"));
    let last = master.put(&claimed, "last", b"123456").await;
    assert_eq!(master.ends_with(&claimed, &[small, last]).await.status, 200);
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

/// A job may call its files so that JSON has six bytes for each of theirs.
#[tokio::test]
async fn the_longest_report_is_taken() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "true"})).await;
    let paths: Vec<_> = (0..1000).map(|n| format!("{}{n}", "\u{1}".repeat(1020))).collect();
    let end = json!({"status": "Completed", "changes": {"created": paths}});
    assert_eq!(master.report(&claimed, "w", end).await.status, 200);
    assert_eq!(master.get("/api/job/1/changes").await.json()["created"][7], paths[7]);
}

#[tokio::test]
async fn a_file_is_cut_off_where_the_master_stops_or_the_database_fails() {
    let master = Master::start().await;
    let content = vec![7; 3 * ARTIFACT_PIECE];
    let id = master.left(&[("a", &content)]).await;
    let open = async || {
        let address = format!("/api/job/{id}/artifacts/a");
        master.open(request("GET", &address).body(Body::empty()).unwrap()).await.into_body()
    };
    let whole = soon(axum::body::to_bytes(open().await, usize::MAX)).await;
    assert_eq!(whole.unwrap().len(), content.len());
    let body = open().await;
    master.faults.plan(Plan::Once(master.faults.operations() + 2, Fault::Before));
    assert!(soon(axum::body::to_bytes(body, usize::MAX)).await.is_err());
    master.faults.plan(Plan::Nothing);
    let body = open().await;
    master.shutdown.cancel();
    assert!(soon(axum::body::to_bytes(body, usize::MAX)).await.is_err());
}

/// A hundred megabytes beside a job that prints: what it waits for its log to be stored. Run it
/// with `--nocapture --ignored`, and in release mode, for figures.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn a_large_upload_holds_no_log_up() {
    const PIECES: u64 = 100;
    let master = Arc::new(Master::start().await);
    let large = master.keeping().await;
    let small = master.running(json!({"command": "true"})).await;
    let frames = encode(&[out("a line of output\n")]);
    let mut offset = 0;
    let append = async |offset: &mut u64| {
        let begun = std::time::Instant::now();
        let reply = master.upload(&small, "w", *offset, frames.clone()).await;
        assert_eq!(reply.status, 200);
        *offset += frames.len() as u64;
        begun.elapsed()
    };
    let mut alone = Vec::new();
    for _ in 0..100 {
        alone.push(append(&mut offset).await);
    }
    let mut uploading = JoinSet::new();
    {
        let master = master.clone();
        uploading.spawn(async move {
            let piece = vec![7; ARTIFACT_PIECE];
            let begun = std::time::Instant::now();
            for place in 0..PIECES {
                let at = place * ARTIFACT_PIECE as u64;
                assert_eq!(master.piece(&large, "large", at, &piece).await.status, 200);
            }
            begun.elapsed()
        });
    }
    let mut beside = Vec::new();
    let took = loop {
        beside.push(append(&mut offset).await);
        if let Some(took) = uploading.try_join_next() {
            break took.unwrap();
        }
    };
    let tell = |name: &str, mut times: Vec<std::time::Duration>| {
        times.sort();
        let (middle, last) = (times[times.len() / 2], times[times.len() - 1]);
        println!("{name}: {} appends, median {middle:?}, longest {last:?}", times.len());
    };
    println!("{PIECES} MiB in {took:?}");
    tell("alone", alone);
    tell("beside", beside);
    let begun = std::time::Instant::now();
    master.bare("DELETE", "/api/job/1").await;
    master.report(&small, "w", json!({"status": "Completed"})).await;
    println!("a report behind its deletion: {:?}", begun.elapsed());
}
