//! The log as events: resumable at every position, and ended only by the job's end.

use std::time::Duration;

use axum::body::Body;
use orchestra_contracts::{Job, event::LogEvent, frame::Body as FrameBody};
use serde_json::json;

use crate::harness::{Master, Open, err, out, request, system};

/// An event as it was sent.
#[derive(Clone, Debug, PartialEq)]
struct Event {
    name: String,
    id: String,
    data: String,
}

fn events(text: &str) -> Vec<Event> {
    let field = |block: &str, name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {block:?}")).to_owned()
    };
    let blocks = text.split("\n\n").filter(|block| !block.is_empty() && !block.starts_with(':'));
    let read = |block| Event {
        name: field(block, "event: "),
        id: field(block, "id: "),
        data: field(block, "data: "),
    };
    blocks.map(read).collect()
}

async fn open(master: &Master, query: &str, last: Option<&str>) -> Open {
    let mut request =
        request("GET", &format!("/api/job/1/log{query}")).header("accept", "text/event-stream");
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let response = master.open(request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    Open::new(response)
}

/// Two ended attempts with five pieces of log.
async fn ended() -> Master {
    let master = Master::start().await;
    let first = master.running(json!({"command": "true", "maxRetries": 1})).await;
    master.stored(&first, &[system("begin\n"), out("a\r\n")], 0).await;
    master.report(&first, "w", json!({"status": "Failed"})).await;
    master.clock.advance(crate::harness::BACKOFF);
    let second = master.claim("w").await.unwrap();
    let head = master.stored(&second, &[out("b"), err("c\u{1F600}")], 0).await;
    master.stored(&second, &[out("d")], head.offset).await;
    master.report(&second, "w", json!({"status": "Completed"})).await;
    master
}

#[tokio::test]
async fn an_ended_job_is_told_to_its_end() {
    let master = ended().await;
    let all = events(&open(&master, "", None).await.end().await.unwrap());
    let names: Vec<&str> = all.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["log", "log", "log", "log", "log", "end"]);
    let texts = all[..5].iter().map(|event| {
        let log: LogEvent = serde_json::from_str(&event.data).unwrap();
        match log.frame().unwrap().body {
            FrameBody::Bytes(_, bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            FrameBody::Gap(_) => panic!("there is no gap"),
        }
    });
    assert_eq!(texts.collect::<Vec<_>>(), ["begin\n", "a\r\n", "b", "c\u{1F600}", "d"]);
    let job: Job = serde_json::from_str(&all[5].data).unwrap();
    assert_eq!((job.output.as_str(), job.exit_code), ("bd", Some(0)));
}

#[tokio::test]
async fn every_position_can_be_resumed() {
    let master = ended().await;
    let all = events(&open(&master, "", None).await.end().await.unwrap());
    for (index, event) in all.iter().enumerate() {
        let rest = events(&open(&master, "", Some(&event.id)).await.end().await.unwrap());
        // The end event is repeated: that is how a client learns that it has seen everything.
        let expected = &all[(index + 1).min(all.len() - 1)..];
        assert_eq!(rest, expected, "after {}", event.id);
        let by_parameter = open(&master, &format!("?after={}", event.id), None).await;
        assert_eq!(events(&by_parameter.end().await.unwrap()), expected);
    }
    let both = open(&master, "?after=2-0", Some("1-0")).await.end().await.unwrap();
    assert_eq!(events(&both)[..], all[..], "the header takes precedence over the parameter");
    let beyond = open(&master, "", Some("9-99")).await.end().await.unwrap();
    assert_eq!(events(&beyond).len(), 1);
}

#[tokio::test]
async fn states_and_logs_come_as_they_happen() {
    let master = Master::start().await;
    master.submit(json!({"command": "true", "maxRetries": 1})).await;
    let mut live = open(&master, "", None).await;
    live.until("\"status\":\"Pending\"").await;
    let claimed = master.claim("w").await.unwrap();
    live.until("\"status\":\"Assigned\"").await;
    master.report(&claimed, "w", json!({"status": "Running"})).await;
    live.until("\"status\":\"Running\"").await;
    let head = master.stored(&claimed, &[out("one")], 0).await;
    live.until("\"text\":\"one\"").await;
    let end = json!({"status": "Failed", "exitCode": 1, "log": {"offset": head.offset, "crc32": head.crc32}});
    master.report(&claimed, "w", end).await;
    live.until("\"retryCount\":1").await;
    master.clock.advance(crate::harness::BACKOFF);
    let second = master.claim("w").await.unwrap();
    live.until("\"attempt\":2").await;
    master.stored(&second, &[out("two")], 0).await;
    master.report(&second, "w", json!({"status": "Completed"})).await;
    let all = events(&live.end().await.unwrap());
    let names: Vec<&str> = all.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(
        names,
        ["state", "state", "state", "log", "state", "state", "log", "end"],
        "{all:#?}"
    );
}

/// Readers are woken by notifications. The poll only covers missed ones, and none is missed here.
#[tokio::test]
async fn readers_are_woken() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "true"})).await;
    let mut live = open(&master, "", None).await;
    live.until("Running").await;
    let mut offset = 0;
    let mut slow = 0;
    for piece in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        let begun = tokio::time::Instant::now();
        let wanted = format!("\"text\":{piece:?}");
        let frames = [out(piece)];
        let append = master.stored(&claimed, &frames, offset);
        let (_, head) = tokio::join!(live.until(&wanted), append);
        offset = head.offset;
        slow += usize::from(begun.elapsed() > Duration::from_millis(900));
    }
    assert!(slow < 4, "{slow} of 8 waited for the poll");
}

#[tokio::test]
async fn readers_that_come_and_go_see_every_byte_once() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "true"})).await;
    let (mut offset, mut last, mut seen) = (0, "0-0".to_owned(), String::new());
    for piece in ["a", "b", "c", "d", "e", "f"] {
        offset = master.stored(&claimed, &[out(piece)], offset).await.offset;
        let mut reader = open(&master, "", Some(&last)).await;
        let text = reader.until(&format!("\"text\":{piece:?}")).await;
        for event in events(text).into_iter().filter(|event| event.name == "log") {
            let log: LogEvent = serde_json::from_str(&event.data).unwrap();
            seen.push_str(&log.text.unwrap());
            last = event.id;
        }
    }
    assert_eq!(seen, "abcdef");
}

#[tokio::test]
async fn a_deleted_job_ends_its_stream() {
    let master = Master::start().await;
    master.submit(json!({"command": "true"})).await;
    let mut live = open(&master, "", None).await;
    live.until("Pending").await;
    assert_eq!(master.bare("DELETE", "/api/job/1").await.status, 204);
    let text = live.end().await.unwrap();
    assert!(!text.contains("event: end"));
}

#[tokio::test]
async fn streams_can_be_chosen_and_cut_to_a_tail() {
    let master = ended().await;
    let only = open(&master, "?stream=stderr", None).await.end().await.unwrap();
    assert_eq!(events(&only).len(), 2);
    let tail = open(&master, "?stream=stdout&tail=1", None).await.end().await.unwrap();
    let texts: Vec<String> = events(&tail)[..2].iter().map(|event| event.data.clone()).collect();
    assert!(
        texts[0].contains("\"text\":\"b\"") && texts[1].contains("\"text\":\"d\""),
        "{texts:?}"
    );
}

#[tokio::test]
async fn a_shutdown_ends_streams_and_tells_that_it_is_not_the_end() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "true"})).await;
    master.stored(&claimed, &[out("x")], 0).await;
    let mut live = open(&master, "", None).await;
    live.until("\"text\":\"x\"").await;
    let follow = request("GET", "/api/job/1/log?follow=true").body(Body::empty()).unwrap();
    let mut text = Open::new(master.open(follow).await);
    text.until("x").await;
    master.shutdown.cancel();
    assert!(!live.end().await.unwrap().contains("event: end"));
    assert_eq!(
        text.end().await,
        Err("x".to_owned()),
        "the stream must not end as if it were complete"
    );
}
