//! The log as text: its parts and its formats.

use axum::body::{Body, Bytes};
use orchestra_contracts::frame::{Body as FrameBody, Frame, Stream};
use serde_json::json;

use crate::harness::{Master, Open, Reply, err, out, request, system};

/// Two attempts, the second of which is still running.
async fn master() -> Master {
    let master = Master::start().await;
    let first = master.running(json!({"command": "true", "maxRetries": 1})).await;
    master.stored(&first, &[system("begin\n"), out("a1\na"), err("E1\n"), out("2\n")], 0).await;
    master.report(&first, "w", json!({"status": "Failed"})).await;
    master.clock.advance(crate::harness::BACKOFF);
    let second = master.claim("w").await.unwrap();
    master.stored(&second, &[out("b1\n"), err("E2\nE"), err("3\n"), out("b2")], 0).await;
    master
}

async fn text(master: &Master, query: &str) -> String {
    let reply = master.get(&format!("/api/job/1/log{query}")).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(reply.header("x-content-type-options"), "nosniff");
    reply.text()
}

#[tokio::test]
async fn every_part_can_be_had() {
    let master = master().await;
    for (query, expected) in [
        ("", "a1\naE1\n2\nb1\nE2\nE3\nb2"),
        ("?attempt=1", "a1\naE1\n2\n"),
        ("?attempt=2", "b1\nE2\nE3\nb2"),
        ("?stream=stdout", "a1\na2\nb1\nb2"),
        ("?stream=stderr", "E1\nE2\nE3\n"),
        ("?stream=system", "begin\n"),
        ("?stream=system,stderr&attempt=1", "begin\nE1\n"),
        ("?stream=system&stream=stderr&attempt=1", "begin\nE1\n"),
        ("?stream=all&attempt=1", "begin\na1\naE1\n2\n"),
        ("?tail=1", "b2"),
        ("?tail=2", "E3\nb2"),
        ("?tail=3", "E2\nE3\nb2"),
        ("?tail=5", "2\nb1\nE2\nE3\nb2"),
        ("?tail=6", "aE1\n2\nb1\nE2\nE3\nb2"),
        ("?tail=999", "a1\naE1\n2\nb1\nE2\nE3\nb2"),
        ("?tail=0", ""),
        ("?tail=1&stream=stderr", "E3\n"),
        ("?tail=2&stream=stderr", "E2\nE3\n"),
        ("?tail=1&attempt=1", "2\n"),
        ("?tail=2&stream=stdout&attempt=1", "a1\na2\n"),
        ("?tail=1&stream=system", "begin\n"),
        ("?after=2-0", "b1\nE2\nE3\nb2"),
        ("?follow=false", "a1\naE1\n2\nb1\nE2\nE3\nb2"),
    ] {
        assert_eq!(text(&master, query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn times_stand_before_each_line() {
    let master = master().await;
    assert_eq!(
        text(&master, "?attempt=1&timestamps=true").await,
        "1970-01-01T00:00:01.000000Z a1\n1970-01-01T00:00:01.000000Z aE1\n\
         1970-01-01T00:00:01.000000Z 2\n"
    );
    assert_eq!(text(&master, "?tail=1&timestamps").await, "1970-01-01T00:00:01.000000Z b2");
}

#[tokio::test]
async fn a_gap_is_told() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "true"})).await;
    let gap = Frame { time: 1, body: FrameBody::Gap(123) };
    master.stored(&claimed, &[out("a"), gap, out("b\n")], 0).await;
    let line = "[orchestra: 123 bytes were left out here]\n";
    assert_eq!(text(&master, "").await, format!("a\n{line}b\n"));
    assert_eq!(text(&master, "?tail=1").await, "b\n");
    assert_eq!(text(&master, "?tail=2").await, format!("{line}b\n"));
}

#[tokio::test]
async fn binary_output_stays_as_it_is() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "true"})).await;
    let bytes: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
    let frames = bytes.chunks(7).map(|piece| Frame {
        time: 1,
        body: FrameBody::Bytes(Stream::Stdout, Bytes::copy_from_slice(piece)),
    });
    master.stored(&claimed, &frames.collect::<Vec<_>>(), 0).await;
    assert_eq!(master.get("/api/job/1/log").await.body, bytes);
}

async fn range(master: &Master, query: &str, range: &str) -> Reply {
    let request = request("GET", &format!("/api/job/1/log{query}")).header("range", range);
    master.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn any_range_can_be_had() {
    let master = master().await;
    for query in ["", "?stream=stderr", "?timestamps=true", "?tail=3"] {
        let whole = text(&master, query).await;
        let length = whole.len();
        for first in 0..length {
            for last in [first, first + 3, length + 5] {
                let reply = range(&master, query, &format!("bytes={first}-{last}")).await;
                let last = last.min(length - 1);
                assert_eq!(reply.status, 206, "{query} {first}-{last}");
                assert_eq!(reply.text(), whole[first..=last], "{query} {first}-{last}");
                assert_eq!(reply.header("content-range"), format!("bytes {first}-{last}/{length}"));
                assert_eq!(reply.header("content-length"), (last - first + 1).to_string());
            }
        }
        assert_eq!(range(&master, query, "bytes=-2").await.text(), whole[length - 2..]);
    }
}

#[tokio::test]
async fn a_range_beyond_the_end_is_refused() {
    let master = master().await;
    for wrong in ["bytes=24-", "bytes=5-1", "bytes=-0"] {
        let reply = range(&master, "", wrong).await;
        assert_eq!(
            (reply.status.as_u16(), reply.problem().as_str()),
            (416, "range-not-satisfiable")
        );
        assert_eq!(reply.header("content-range"), "bytes */20", "{wrong}");
    }
    assert_eq!(range(&master, "", "bytes=0-1,4-5").await.status, 200);
    assert_eq!(master.get("/api/job/1/log").await.header("accept-ranges"), "bytes");
}

#[tokio::test]
async fn follow_stays_open_until_the_end() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "true"})).await;
    master.stored(&claimed, &[out("first ")], 0).await;
    let follow = request("GET", "/api/job/1/log?follow=true").body(Body::empty()).unwrap();
    let response = master.open(follow).await;
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let mut open = Open::new(response);
    open.until("first").await;
    let offset = master.get("/api/job/1/attempts/1/log").await.json()["offset"].as_u64().unwrap();
    master.stored(&claimed, &[err("second")], offset).await;
    open.until("second").await;
    master.report(&claimed, "w", json!({"status": "Completed"})).await;
    assert_eq!(open.end().await.unwrap(), "first second");
}

#[tokio::test]
async fn follow_goes_on_with_the_next_attempt() {
    let master = master().await;
    let follow = request("GET", "/api/job/1/log?follow=true&tail=1").body(Body::empty()).unwrap();
    let mut open = Open::new(master.open(follow).await);
    open.until("b2").await;
    master.clock.advance(crate::harness::LEASE);
    assert_eq!(master.service.expire_leases().await.unwrap(), 1);
    master.clock.advance(crate::harness::BACKOFF);
    let third = master.claim("w").await.expect("lost attempts cost the command no retry");
    master.stored(&third, &[out(" c")], 0).await;
    open.until(" c").await;
    master.report(&third, "w", json!({"status": "Completed"})).await;
    assert_eq!(open.end().await.unwrap(), "b2 c");
}

#[tokio::test]
async fn follow_waits_for_an_attempt_to_come() {
    let master = Master::start().await;
    let first = master.running(json!({"command": "true", "maxRetries": 1})).await;
    master.stored(&first, &[out("one")], 0).await;
    let second =
        request("GET", "/api/job/1/log?follow=true&attempt=2").body(Body::empty()).unwrap();
    let mut open = Open::new(master.open(second).await);
    master.report(&first, "w", json!({"status": "Failed"})).await;
    master.clock.advance(crate::harness::BACKOFF);
    let second = master.claim("w").await.unwrap();
    master.stored(&second, &[out("two")], 0).await;
    open.until("two").await;
    master.report(&second, "w", json!({"status": "Failed"})).await;
    assert_eq!(open.end().await.unwrap(), "two");
}

#[tokio::test]
async fn follow_of_one_attempt_ends_with_it() {
    let master = master().await;
    let follow =
        request("GET", "/api/job/1/log?follow=true&attempt=1").body(Body::empty()).unwrap();
    assert_eq!(Open::new(master.open(follow).await).end().await.unwrap(), "a1\naE1\n2\n");
}
