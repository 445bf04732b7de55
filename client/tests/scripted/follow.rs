//! Following a log across broken connections.

use std::{
    collections::HashMap,
    fmt::Write,
    io,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Path,
    http::{HeaderMap, StatusCode},
    routing::{any, get},
};
use futures::{StreamExt, TryStreamExt, stream};
use orchestra_client::{Client, FollowEvent};
use orchestra_contracts::{
    AttemptNo, JobId, JobStatus,
    event::{Cursor, LogEvent},
    frame::{Body as FrameBody, Frame, Stream},
    paths,
};

use crate::server::{job, serve};

type Frames = Vec<(AttemptNo, Frame)>;

/// Two attempts with text, bytes that are not text, and a gap.
fn frames() -> Frames {
    let bytes = |stream, bytes: &'static [u8]| FrameBody::Bytes(stream, bytes.into());
    let bodies = [
        (1, bytes(Stream::System, b"building image gcc\n")),
        (1, bytes(Stream::Stdout, "Grüße\r\n\n: data: x".as_bytes())),
        (1, bytes(Stream::Stderr, b"\xff\x00\r")),
        (2, FrameBody::Gap(77)),
        (2, bytes(Stream::Stdout, b"")),
    ];
    bodies.map(|(attempt, body)| (AttemptNo(attempt), Frame { time: 5, body })).into()
}

/// What a master sends to a reader that has read up to `from`.
fn event_stream(id: JobId, from: Option<Cursor>) -> String {
    let mut text = ": welcome\n\n".to_owned();
    let mut cursor = Cursor::default();
    for (attempt, frame) in frames() {
        if attempt.0 != cursor.attempt {
            cursor = Cursor::start_of(attempt);
        }
        cursor.offset += frame.encoded_len() as u64;
        if from.is_none_or(|from| cursor > from) {
            let data = serde_json::to_string(&LogEvent::new(attempt, &frame)).unwrap();
            write!(text, "id: {cursor}\nevent: log\ndata: {data}\n\n").unwrap();
        }
    }
    for (kind, status) in [("state", JobStatus::Running), ("end", JobStatus::Completed)] {
        let data = serde_json::to_string(&job(id, status)).unwrap();
        write!(text, "id: {cursor}\nevent: {kind}\ndata: {data}\n\n").unwrap();
    }
    text
}

/// The id that a reader of `text` has: that of the last complete log event.
fn last_id(text: &str) -> Option<String> {
    let whole = &text[..=text.rfind("\n\n")?];
    let event = whole.split("\n\n").filter(|event| event.contains("event: log")).last()?;
    Some(event.lines().next()?.strip_prefix("id: ")?.to_owned())
}

async fn followed(client: &Client, id: JobId) -> Frames {
    let events: Vec<_> = client.follow(id, None).try_collect().await.unwrap();
    let (last, rest) = events.split_last().unwrap();
    assert!(
        matches!(last, FollowEvent::End(job) if job.status == JobStatus::Completed),
        "{last:?}"
    );
    let frame_of = |event: &FollowEvent| match event {
        FollowEvent::Log { attempt, frame, .. } => Some((*attempt, frame.clone())),
        _ => None,
    };
    rest.iter().filter_map(frame_of).collect()
}

/// What each connection asked for, by job. The first connection for job n breaks after n bytes:
/// cleanly if n is even, with a reset if it is odd.
type Asked = Arc<Mutex<HashMap<i64, Vec<Option<String>>>>>;

fn breaking_master(asked: Asked) -> Router {
    let handler = move |Path(id): Path<i64>, headers: HeaderMap| {
        let from = headers.get("last-event-id").map(|id| id.to_str().unwrap().to_owned());
        let cursor = from.as_ref().map(|from| from.parse().unwrap());
        let text = event_stream(JobId(id), cursor);
        let mut asked = asked.lock().unwrap();
        let connections = asked.entry(id).or_default();
        connections.push(from);
        let first = connections.len() == 1;
        let cut = if first { id as usize } else { text.len() };
        let head = Ok(Bytes::copy_from_slice(&text.as_bytes()[..cut]));
        let reset = (first && id % 2 == 1).then(|| Err(io::Error::other("cut")));
        let body = Body::from_stream(stream::iter([head].into_iter().chain(reset)));
        async move { body }
    };
    Router::new().route(paths::LOG, get(handler))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_frame_comes_once_wherever_the_stream_is_cut() {
    let asked = Asked::default();
    let server = serve(breaking_master(asked.clone())).await;
    let length = event_stream(JobId(1000), None).len() as i64;
    stream::iter(1..length)
        .for_each_concurrent(64, |cut| {
            let client = &server.client;
            async move { assert_eq!(followed(client, JobId(cut)).await, frames(), "cut at {cut}") }
        })
        .await;
    for (cut, connections) in asked.lock().unwrap().iter().filter(|(cut, _)| *cut % 2 == 0) {
        let text = event_stream(JobId(*cut), None);
        if *cut as usize >= text.len() - 1 {
            continue; // the end was seen whole, or all but its last line's end
        }
        let head = String::from_utf8_lossy(&text.as_bytes()[..*cut as usize]).into_owned();
        assert_eq!(*connections, [None, last_id(&head)], "cut at {cut}");
    }
}

#[tokio::test]
async fn what_a_master_repeats_is_dropped() {
    let calls = Arc::new(Mutex::new(0));
    let handler = move || {
        let mut calls = calls.lock().unwrap();
        *calls += 1;
        let text = event_stream(JobId(1), None);
        let end = if *calls < 3 { text.find("event: state").unwrap() } else { text.len() };
        let body = text[..end].to_owned();
        async move { body }
    };
    let server = serve(Router::new().route(paths::LOG, get(handler))).await;
    assert_eq!(followed(&server.client, JobId(1)).await, frames());
}

#[tokio::test]
async fn a_refusal_ends_the_following() {
    let problem = r#"{"type": "urn:orchestra:problem:not-found", "title": "t", "status": 404,
        "detail": "there is no job 9"}"#;
    let server = serve(Router::new().fallback(any((StatusCode::NOT_FOUND, problem)))).await;
    let events: Vec<_> = server.client.follow(JobId(9), None).collect().await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].as_ref().unwrap_err().to_string(), "there is no job 9");
}
