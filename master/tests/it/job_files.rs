//! Input files that are uploaded before the jobs that use them: whole or in pieces, stored once for
//! each content, fetched by workers. A job with a missing file is refused.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use futures::stream;
use orchestra_contracts::{Size, worker::ARTIFACT_PIECE};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    faulty::{Fault, Plan},
    harness::{Master, Reply, request},
};

fn hash_of(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

fn long() -> Vec<u8> {
    (0..=250).cycle().take(2 * ARTIFACT_PIECE + 12_345).collect()
}

impl Master {
    async fn bring(&self, sha256: &str, query: &str, body: impl Into<Body>) -> Reply {
        let request = request("PUT", &format!("/api/upload/{sha256}{query}"));
        self.send(request.body(body.into()).unwrap()).await
    }

    async fn fetch_upload(&self, sha256: &str, range: Option<&str>) -> Reply {
        let mut request = request("GET", &format!("/api/upload/{sha256}"));
        if let Some(range) = range {
            request = request.header("range", range);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }
}

fn pointers(reply: &Reply) -> Vec<String> {
    let errors = reply.json()["errors"].as_array().cloned().unwrap_or_default();
    errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
}

fn spec(sha256: &str) -> Value {
    json!({"command": "true", "files": [{"path": "data", "upload": sha256}]})
}

#[tokio::test]
async fn a_file_is_brought_whole_and_fetched_in_parts() {
    let master = Master::start().await;
    let content = long();
    let sha256 = hash_of(&content);
    assert_eq!(master.fetch_upload(&sha256, None).await.status, 404);
    let brought = master.bring(&sha256, "", content.clone()).await;
    let due = json!({"sha256": sha256, "bytes": content.len(), "complete": true});
    assert_eq!((brought.status.as_u16(), brought.json()), (201, due));
    let fetched = master.fetch_upload(&sha256, None).await;
    assert_eq!((fetched.status.as_u16(), &fetched.body[..]), (200, &content[..]));
    assert!(fetched.header("content-disposition").starts_with("attachment"));
    let part = master.fetch_upload(&sha256, Some("bytes=1048570-1048579")).await;
    assert_eq!((part.status.as_u16(), &part.body[..]), (206, &content[1_048_570..1_048_580]));
    assert!(part.header("content-range").ends_with(&format!("/{}", content.len())));
    let beyond = master.fetch_upload(&sha256, Some("bytes=99999999-")).await;
    assert_eq!(beyond.status, 416);
    // Uploading again succeeds, however much of the content is sent.
    assert_eq!(master.bring(&sha256, "?offset=5", "x").await.status, 201);
}

#[tokio::test]
async fn a_file_is_brought_in_pieces_and_gone_on_with() {
    let master = Master::start().await;
    let content = long();
    let sha256 = hash_of(&content);
    let piece = |from: usize, to: usize| content[from..to].to_vec();
    let begun = master.bring(&sha256, "", piece(0, 1000)).await;
    assert_eq!((begun.status.as_u16(), &begun.json()["bytes"]), (202, &json!(1000)));
    assert_eq!(begun.json()["complete"], json!(false));
    let hole = master.bring(&sha256, "?offset=1001", piece(1001, 2000)).await;
    assert_eq!(hole.json()["type"], "urn:orchestra:problem:artifact-offset");
    assert_eq!((hole.status.as_u16(), &hole.json()["artifact"]["offset"]), (409, &json!(1000)));
    // Of a body that is cut off, the complete pieces are kept.
    let broken = [Ok(Bytes::from(piece(1000, 1000 + ARTIFACT_PIECE))), Err("broken")];
    let body = Body::from_stream(stream::iter(broken));
    assert_eq!(master.bring(&sha256, "?offset=1000", body).await.status, 400);
    let asked = master.bring(&sha256, "?offset=1000", "").await;
    assert_eq!(asked.json()["bytes"], json!(1000 + ARTIFACT_PIECE));
    let rest = master.bring(&sha256, "?offset=1000", piece(1000, content.len())).await;
    assert_eq!(rest.status, 201);
    assert_eq!(master.fetch_upload(&sha256, None).await.body, content);
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_not_kept() {
    let master = Master::taking_at_most(Size::mib(1)).await;
    let content = vec![7; (1 << 20) + 1];
    let sha256 = hash_of(&content);
    let endless = || {
        let piece = || Ok::<_, Infallible>(Bytes::from(vec![7; 1 << 16]));
        Body::from_stream(stream::repeat_with(piece))
    };
    for body in [Body::from(content.clone()), endless()] {
        let refused = master.bring(&sha256, "", body).await;
        assert_eq!(refused.status, 413);
        assert!(refused.json()["hint"].as_str().unwrap().contains("ORCHESTRA_UPLOAD_LIMIT"));
        assert_eq!(master.bring(&sha256, "?offset=1", "").await.json()["artifact"]["offset"], 0);
    }
    let fits = vec![7; 1 << 20];
    assert_eq!(master.bring(&hash_of(&fits), "", fits).await.status, 201);
}

#[tokio::test]
async fn a_job_has_what_was_brought_and_nothing_else() {
    let master = Master::start().await;
    let (there, nowhere) = (hash_of(b"there"), hash_of(b"nowhere"));
    master.bring(&there, "", "there").await;
    master.bring(&hash_of(b"begun, and not ended"), "", "begun").await;
    for missing in [nowhere.as_str(), &hash_of(b"begun, and not ended")] {
        for (address, specs, pointer) in [
            ("/api/job", json!([spec(&there), spec(missing)]), "/1/files/0/upload"),
            ("/api/job", spec(missing), "/files/0/upload"),
            ("/api/job?dryRun=true", spec(missing), "/files/0/upload"),
        ] {
            let refused = master.post(address, specs).await;
            assert_eq!(
                (refused.status.as_u16(), pointers(&refused)),
                (422, vec![pointer.to_owned()])
            );
        }
    }
    let schedule = json!({"name": "s", "cron": "@daily", "spec": spec(&there)});
    let refused = master.post("/api/schedule", schedule).await;
    assert_eq!(pointers(&refused), ["/spec/files/0/upload"]);
    let id = master.submit(spec(&there)).await;
    let job = master.get(&format!("/api/job/{id}")).await.json();
    assert_eq!(job["files"], json!([{"path": "data", "upload": there}]));
}

/// The piece is sent again because its answer was lost, or because it was not stored.
#[tokio::test]
async fn a_piece_can_be_sent_again_whatever_became_of_it() {
    for fault in [Fault::Before, Fault::After] {
        let master = Master::start().await;
        let content = b"one and two";
        let sha256 = hash_of(content);
        for (offset, piece) in [(0, &content[..3]), (3, &content[3..])] {
            master.faults.plan(Plan::Once(master.faults.operations() + 1, fault));
            let query = format!("?offset={offset}");
            assert_eq!(master.bring(&sha256, &query, piece.to_vec()).await.status, 503);
            assert!(master.bring(&sha256, &query, piece.to_vec()).await.status.is_success());
        }
        assert_eq!(master.fetch_upload(&sha256, None).await.body, &content[..]);
    }
}
