//! Readers of logs that are slow, many, or gone do not affect anyone else.

use axum::body::Body;
use bytes::Bytes;
use orchestra_contracts::{
    event::LogEvent,
    frame::{Body as FrameBody, Frame, Stream},
};
use serde_json::json;

use crate::harness::{Master, Open, request};

const PIECE: usize = 60 << 10;

/// A piece of log with unique content.
fn piece(number: usize) -> Frame {
    let line = format!("{number:07}\n");
    let bytes = Bytes::from(line.repeat(PIECE / line.len()));
    Frame { time: 1, body: FrameBody::Bytes(Stream::Stdout, bytes) }
}

fn events() -> axum::http::request::Builder {
    request("GET", "/api/job/1/log").header("accept", "text/event-stream")
}

/// The concatenated text of a stream's `log` events.
fn output(events: &str) -> String {
    let data = events.lines().filter_map(|line| line.strip_prefix("data: "));
    let logs = data.filter_map(|data| serde_json::from_str::<LogEvent>(data).ok());
    logs.filter_map(|log| log.text).collect()
}

/// A reader loads pages from the store on demand. So a slow one holds little memory, and still finds
/// everything when it goes on.
#[tokio::test]
async fn a_slow_reader_holds_no_more_than_a_page() {
    const PIECES: usize = 160;
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "true"})).await;
    let (mut offset, mut expected) = (0, String::new());
    for number in 0..PIECES {
        let frame = piece(number);
        if let FrameBody::Bytes(_, bytes) = &frame.body {
            expected.push_str(std::str::from_utf8(bytes).unwrap());
        }
        offset = master.stored(&claimed, &[frame], offset).await.offset;
    }
    let before = master.faults.log_reads();
    let mut reader = Open::new(master.open(events().body(Body::empty()).unwrap()).await);
    reader.until("0000000").await;
    let taken = master.faults.log_reads() - before;
    assert!(taken <= 2, "{taken} pages of a megabyte were read ahead");
    master.report(&claimed, "w", json!({"status": "Completed"})).await;
    let all = reader.end().await.unwrap();
    assert!(output(&all) == expected, "the log differs");
    let pages = master.faults.log_reads() - before;
    assert!(pages >= (PIECES * PIECE) >> 20, "it was read in pages: {pages}");
}

/// The job is deleted while being read, and its worker then ends it.
#[tokio::test]
async fn a_log_that_is_deleted_ends_where_it_was() {
    let master = Master::start().await;
    let claimed = master.running(json!({"command": "true"})).await;
    master.stored(&claimed, &[piece(0)], 0).await;
    let mut reader = Open::new(master.open(events().body(Body::empty()).unwrap()).await);
    reader.until("0000000").await;
    assert_eq!(master.bare("DELETE", "/api/job/1").await.status, 202);
    let outcome = json!({"status": "Failed", "outcome": {"kind": "cancelled"}});
    assert_eq!(master.report(&claimed, "w", outcome).await.status, 200);
    let all = reader.end().await.unwrap();
    assert_eq!(output(&all).len(), PIECE / 8 * 8, "the reader got everything up to the deletion");
    assert!(!all.contains("event: end"), "there is no job that could have ended");
    assert_eq!(master.get("/api/job/1/log").await.problem(), "not-found");
    assert_eq!(master.service.reading(), 0);
}
