//! A log takes every byte once, in order, from the holder of the lease alone.

use bytes::Bytes;
use orchestra_contracts::{
    AttemptNo, Outcome,
    frame::{Body, Frame, HEADER, Stream},
    worker::LogHead,
};
use tokio::task::JoinSet;

use super::{Held, TestStore, at, encode, every_adapter, spec, stdout};
use crate::store::{Appended, LogChunk, LogCodec, Order};

every_adapter!(
    a_log_is_stored_byte_for_byte,
    what_is_stored_already_is_skipped,
    a_hole_is_refused,
    an_overlap_must_meet_the_edge_of_a_frame,
    many_appends_to_one_log_at_once,
    chunks_are_read_from_anywhere,
    long_output_is_as_it_was_and_found_by_its_own_length,
    each_attempt_has_a_log_of_its_own,
    an_ended_attempt_takes_no_more,
    a_log_may_be_packed_one_way_and_then_another,
);

fn head_after(text: &str, offset: u64) -> Appended {
    let crc32 = crc32fast::hash(text.as_bytes());
    Appended::Stored(LogHead { offset, output: text.len() as u64, gap: 0, crc32 })
}

async fn chunks(store: &TestStore, held: &Held) -> Vec<LogChunk> {
    let attempt = AttemptNo(held.job.attempts);
    store.log_chunks(held.job.id, attempt, 0..u64::MAX, Order::Ascending, 1000).await.unwrap()
}

async fn stored(store: &TestStore, held: &Held) -> Vec<u8> {
    chunks(store, held).await.iter().flat_map(|chunk| chunk.frames.to_vec()).collect()
}

async fn a_log_is_stored_byte_for_byte(store: TestStore) {
    let held = store.submit_and_claim(spec("true")).await;
    let bytes = |stream, bytes: &'static [u8]| Frame {
        time: u64::MAX,
        body: Body::Bytes(stream, Bytes::from_static(bytes)),
    };
    let frames = encode(&[
        bytes(Stream::Stdout, b"\x00\xff\r\n"),
        bytes(Stream::System, b"out of memory"),
        Frame { time: 0, body: Body::Gap(1000) },
        bytes(Stream::Stderr, b"end"),
        bytes(Stream::Stdout, b""),
    ]);
    let head = LogHead {
        offset: frames.len() as u64,
        output: 7,
        gap: 1000,
        crc32: crc32fast::hash(b"\x00\xff\r\nend"),
    };
    let answer = store.append_log(held.append(0, frames.clone())).await.unwrap();
    assert_eq!(answer, Appended::Stored(head));
    let chunk = LogChunk { offset: 0, stdout: 4, stderr: 3, system: 13, frames };
    assert_eq!(chunks(&store, &held).await, [chunk]);
    assert_eq!(store.log_head(held.job.id, AttemptNo(1)).await.unwrap(), Some(head));
    assert_eq!(store.read(held.job.id).await.log, head);
}

async fn what_is_stored_already_is_skipped(store: TestStore) {
    let held = store.submit_and_claim(spec("true")).await;
    let all = encode(&[stdout("one"), stdout("two"), stdout("three")]);
    let edge = HEADER + 3;
    let send =
        |from: usize, to: usize| store.append_log(held.append(from as u64, all.slice(from..to)));
    assert_eq!(send(0, edge).await.unwrap(), head_after("one", 16));
    assert_eq!(send(0, edge).await.unwrap(), head_after("one", 16), "again");
    assert_eq!(send(0, 2 * edge).await.unwrap(), head_after("onetwo", 32), "overlapping");
    assert_eq!(send(0, edge).await.unwrap(), head_after("onetwo", 32), "late");
    assert_eq!(send(edge, all.len()).await.unwrap(), head_after("onetwothree", 50));
    assert_eq!(send(all.len(), all.len()).await.unwrap(), head_after("onetwothree", 50), "nothing");
    assert_eq!(stored(&store, &held).await, all);
}

async fn a_hole_is_refused(store: TestStore) {
    let held = store.submit_and_claim(spec("true")).await;
    let frames = encode(&[stdout("x")]);
    let answer = store.append_log(held.append(1, frames.clone())).await.unwrap();
    assert_eq!(answer, Appended::Misplaced(LogHead::default()));
    store.append_log(held.append(0, frames.clone())).await.unwrap();
    let answer = store.append_log(held.append(15, frames.clone())).await.unwrap();
    assert!(matches!(answer, Appended::Misplaced(LogHead { offset: 14, .. })), "{answer:?}");
    assert_eq!(stored(&store, &held).await, frames);
}

async fn an_overlap_must_meet_the_edge_of_a_frame(store: TestStore) {
    let held = store.submit_and_claim(spec("true")).await;
    store.append_log(held.append(0, encode(&[stdout("one")]))).await.unwrap();
    for (offset, text) in [(0, "longer"), (0, ""), (1, "one"), (15, "x")] {
        let answer =
            store.append_log(held.append(offset, encode(&[stdout(text), stdout("y")]))).await;
        assert!(matches!(answer.unwrap(), Appended::Misplaced(_)), "{text:?} at {offset}");
    }
    assert_eq!(stored(&store, &held).await, encode(&[stdout("one")]));
}

async fn many_appends_to_one_log_at_once(store: TestStore) {
    let held = store.submit_and_claim(spec("true")).await;
    let other = store.submit_and_claim(spec("true")).await;
    let pieces: Vec<Bytes> = (0..100).map(|n| encode(&[stdout(&format!("line {n}\n"))])).collect();
    // Each piece is sent until the ones before it have arrived.
    let mut senders = JoinSet::new();
    for held in [&held, &other] {
        let mut offset = 0;
        for piece in &pieces {
            let (store, append) = (store.share(), held.append(offset, piece.clone()));
            offset += piece.len() as u64;
            senders.spawn(async move {
                while !matches!(
                    store.append_log(append.clone()).await.unwrap(),
                    Appended::Stored(_)
                ) {
                    tokio::task::yield_now().await;
                }
            });
        }
    }
    senders.join_all().await;
    for held in [&held, &other] {
        assert_eq!(stored(&store, held).await, pieces.concat());
        let head = store.log_head(held.job.id, AttemptNo(1)).await.unwrap().unwrap();
        assert_eq!(head.offset, pieces.iter().map(Bytes::len).sum::<usize>() as u64);
        let text = (0..100).map(|n| format!("line {n}\n")).collect::<Vec<_>>().concat();
        assert_eq!(head.crc32, crc32fast::hash(text.as_bytes()));
    }
}

async fn chunks_are_read_from_anywhere(store: TestStore) {
    let held = store.submit_and_claim(spec("true")).await;
    // Chunks begin at 0, 20, 40, 60, 80; the log ends at 100.
    let frames = encode(&[stdout("7 bytes")]);
    for number in 0..5 {
        store.append_log(held.append(number * 20, frames.clone())).await.unwrap();
    }
    let read = async |range, order, limit| {
        let chunks =
            store.log_chunks(held.job.id, AttemptNo(1), range, order, limit).await.unwrap();
        chunks.iter().map(|chunk| chunk.offset).collect::<Vec<_>>()
    };
    let (up, down) = (Order::Ascending, Order::Descending);
    assert_eq!(read(0..u64::MAX, up, 9).await, [0, 20, 40, 60, 80]);
    assert_eq!(read(0..u64::MAX, down, 2).await, [80, 60]);
    assert_eq!(read(20..60, up, 9).await, [20, 40]);
    assert_eq!(read(21..61, up, 9).await, [20, 40, 60]);
    assert_eq!(read(39..41, down, 9).await, [40, 20]);
    assert_eq!(read(50..u64::MAX, up, 1).await, [40]);
    assert_eq!(read(99..200, up, 9).await, [80]);
    assert_eq!(read(100..200, up, 9).await, [0; 0]);
}

/// However little room it takes.
async fn long_output_is_as_it_was_and_found_by_its_own_length(store: TestStore) {
    let held = store.submit_and_claim(spec("true")).await;
    let long = encode(&[stdout(&"a line that comes again\n".repeat(2000))]);
    let short = encode(&[stdout("end")]);
    let length = long.len() as u64;
    for (offset, frames) in [(0, &long), (length, &short)] {
        store.append_log(held.append(offset, frames.clone())).await.unwrap();
    }
    assert_eq!(stored(&store, &held).await, [&long[..], &short[..]].concat());
    let read = async |range| {
        let (attempt, order) = (AttemptNo(1), Order::Ascending);
        let chunks = store.log_chunks(held.job.id, attempt, range, order, 9).await.unwrap();
        chunks.iter().map(|chunk| chunk.offset).collect::<Vec<_>>()
    };
    assert_eq!(read(length - 1..length).await, [0], "its last byte is in it");
    assert_eq!(read(length..u64::MAX).await, [length]);
}

async fn each_attempt_has_a_log_of_its_own(store: TestStore) {
    let first = store.submit_and_claim(spec("true")).await;
    store.append_log(first.append(0, encode(&[stdout("first")]))).await.unwrap();
    store.event(first.job.id, first.ended(Outcome::HandedBack), at(2)).await;
    let second = store.claim_one("worker", at(2)).await;
    let late = store.append_log(first.append(18, encode(&[stdout("late")]))).await.unwrap();
    assert_eq!(late, Appended::LeaseLost);
    let answer = store.append_log(second.append(0, encode(&[stdout("2nd")]))).await.unwrap();
    assert_eq!(answer, head_after("2nd", 16));
    assert_eq!(stored(&store, &first).await, encode(&[stdout("first")]));
    assert_eq!(stored(&store, &second).await, encode(&[stdout("2nd")]));
}

async fn an_ended_attempt_takes_no_more(store: TestStore) {
    let held = store.submit_and_claim(spec("true")).await;
    store.event(held.job.id, held.ended(Outcome::Exited { code: 0 }), at(2)).await;
    let answer = store.append_log(held.append(0, encode(&[stdout("late")]))).await.unwrap();
    assert_eq!(answer, Appended::LeaseLost);
}

/// A setting that is changed, and changed back, hides nothing that was stored.
async fn a_log_may_be_packed_one_way_and_then_another(mut store: TestStore) {
    let held = store.submit_and_claim(spec("true")).await;
    let piece = encode(&[stdout(&"a line as compilers write them\n".repeat(200))]);
    let codecs = [LogCodec::Lz4, LogCodec::Zstd, LogCodec::Lz4];
    for (number, codec) in (0..).zip(codecs) {
        store.reopen_packing(codec).await;
        let offset = number * piece.len() as u64;
        let appended = store.append_log(held.append(offset, piece.clone())).await.unwrap();
        assert!(matches!(appended, Appended::Stored(_)), "{codec}: {appended:?}");
        let (id, attempt) = (held.job.id, AttemptNo(1));
        let chunks = store.log_chunks(id, attempt, 0..u64::MAX, Order::Ascending, 99).await;
        let frames: Vec<Bytes> = chunks.unwrap().into_iter().map(|chunk| chunk.frames).collect();
        assert!(frames.concat() == piece.repeat(number as usize + 1), "{codec}");
    }
}
