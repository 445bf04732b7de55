//! Workers upload logs: once, in order, under their lease, and completely before the end.

use axum::body::{Body, Bytes};
use orchestra_contracts::{
    Span,
    frame::{Body as FrameBody, Frame},
    worker::LogHead,
};
use serde_json::json;

use crate::harness::{LEASE, Master, encode, err, out, request, system};

#[tokio::test]
async fn an_upload_may_be_repeated() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "true"})).await;
    let (first, second) = (encode(&[out("ab")]), encode(&[err("c"), system("note")]));
    let head = master.stored(&claimed, &[out("ab")], 0).await;
    assert_eq!((head.offset, head.output), (first.len() as u64, 2));
    assert_eq!(master.stored(&claimed, &[out("ab")], 0).await, head, "again");
    let both = [first, second].concat();
    let reply = master.upload(&claimed, "w", 0, both.clone().into()).await;
    let head: LogHead = reply.read();
    assert_eq!((head.offset, head.output), (both.len() as u64, 3));
    assert_eq!(head.crc32, crc32fast::hash(b"abc"));
    assert_eq!(master.get("/api/job/1/attempts/1/log").await.read::<LogHead>(), head);
    assert_eq!(master.get("/api/job/1/log").await.text(), "abc");
}

/// A restarted worker learns from it where to resume.
#[tokio::test]
async fn an_upload_of_nothing_tells_the_holder_how_much_is_stored() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "true"})).await;
    let head = master.stored(&claimed, &[out("hello"), system("note")], 0).await;
    let nothing = master.upload(&claimed, "w", 0, Bytes::new()).await;
    assert_eq!(nothing.read::<LogHead>(), head);
    assert_eq!(master.upload(&claimed, "other", 0, Bytes::new()).await.problem(), "lease-lost");
}

#[tokio::test]
async fn a_hole_is_refused_with_the_place_to_go_on() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "true"})).await;
    let head = master.stored(&claimed, &[out("ab")], 0).await;
    for offset in [head.offset + 1, head.offset - 1, 10_000] {
        let reply = master.upload(&claimed, "w", offset, encode(&[out("c")])).await;
        assert_eq!(
            (reply.status.as_u16(), reply.problem().as_str()),
            (409, "log-offset"),
            "{offset}"
        );
        assert_eq!(reply.json()["log"]["offset"], head.offset);
    }
}

#[tokio::test]
async fn only_the_holder_may_write() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "true"})).await;
    assert_eq!(
        master.upload(&claimed, "other", 0, encode(&[out("x")])).await.problem(),
        "lease-lost"
    );
    let nameless = request("POST", "/api/job/1/attempts/1/log?offset=0&worker=w")
        .header("content-type", "application/octet-stream")
        .body(Body::from(encode(&[out("x")])))
        .unwrap();
    assert_eq!(master.send(nameless).await.problem(), "lease-lost");
    master.clock.advance(LEASE);
    master.service.expire_leases().await.unwrap();
    assert_eq!(master.upload(&claimed, "w", 0, encode(&[out("x")])).await.problem(), "lease-lost");
    assert_eq!(master.get("/api/job/1/log").await.text(), "");
}

#[tokio::test]
async fn a_worker_made_of_curl_may_upload_under_its_name() {
    let master = Master::start().await;
    master.submit(json!({"command": "true"})).await;
    master.post("/api/job/claim", json!("me")).await;
    let upload = request("POST", "/api/job/1/attempts/1/log?offset=0&worker=me")
        .header("content-type", "application/octet-stream")
        .body(Body::from(encode(&[out("x")])))
        .unwrap();
    assert_eq!(master.send(upload).await.status, 200);
    // If the log was uploaded, the output in the report is not added to it.
    let update = json!({"id": 1, "status": "Completed", "assignedWorker": "me", "output": "x"});
    assert_eq!(master.post("/api/job/update", update).await.json()["output"], "x");
    assert_eq!(master.get("/api/job/1/log").await.text(), "x");
}

#[tokio::test]
async fn frames_are_checked() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "true"})).await;
    let whole = encode(&[out("abc")]);
    let mut unknown = whole.to_vec();
    unknown[0] = 9;
    let mut long = whole.to_vec();
    long[9..13].copy_from_slice(&70_000_u32.to_le_bytes());
    for frames in [whole.slice(..whole.len() - 1), unknown.into(), long.into(), Bytes::from("hi")] {
        let reply = master.upload(&claimed, "w", 0, frames).await;
        assert_eq!((reply.status.as_u16(), reply.problem().as_str()), (400, "unreadable"));
    }
    assert_eq!(master.upload(&claimed, "w", 0, Bytes::new()).await.read::<LogHead>().offset, 0);
    let mebibyte = Bytes::from(vec![0; (1 << 20) + 1]);
    assert_eq!(master.upload(&claimed, "w", 0, mebibyte).await.problem(), "too-large");
}

#[tokio::test]
async fn a_job_ends_only_with_its_whole_log() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "true"})).await;
    let head = master.stored(&claimed, &[out("all "), out("of it")], 0).await;
    let end =
        |offset, crc32| json!({"status": "Completed", "log": {"offset": offset, "crc32": crc32}});
    for wrong in [end(head.offset + 1, head.crc32), end(head.offset, head.crc32 + 1)] {
        let reply = master.report(&claimed, "w", wrong).await;
        assert_eq!((reply.status.as_u16(), reply.problem().as_str()), (409, "log-incomplete"));
        assert_eq!(reply.json()["log"]["offset"], head.offset);
        assert_eq!(master.job(1).await["status"], "Running");
    }
    let job = master.report(&claimed, "w", end(head.offset, head.crc32)).await.json();
    assert_eq!((&job["status"], &job["output"]), (&json!("Completed"), &json!("all of it")));
}

#[tokio::test]
async fn the_tail_is_shown_while_it_runs_and_after() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "true", "maxRetries": 1})).await;
    let gap = Frame { time: 1, body: FrameBody::Gap(99) };
    master.stored(&claimed, &[out("one\n"), err("two\n"), gap, out("three\n")], 0).await;
    let job = master.job(1).await;
    assert_eq!((&job["output"], &job["error"]), (&json!("one\nthree\n"), &json!("two\n")));
    assert_eq!(job["outputTruncated"], true);
    master.clock.advance(LEASE);
    master.service.expire_leases().await.unwrap();
    assert_eq!(master.job(1).await["output"], "one\nthree\n", "also for a lost attempt");
    master.clock.advance(Span::from_secs(60));
    let again = master.claim("w").await.unwrap();
    assert_eq!(master.job(1).await["output"], "");
    master.stored(&again, &[out("four")], 0).await;
    assert_eq!(master.job(1).await["output"], "four");
    assert_eq!(master.get("/api/job/1/attempts").await.json()[0]["logBytes"], 14);
}
