//! An uploader that forgets, repeats and re-cuts what it sends.

use bytes::Bytes;
use orchestra_contracts::{
    AttemptNo,
    frame::{Body, Frame, Stream},
};
use proptest::{
    collection::vec,
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::{TestStore, encode, every_adapter, spec};
use crate::store::{Appended, Order};

every_adapter!(any_way_of_sending_stores_the_log_once);

/// Logs to try; each with sends of its own.
const LOGS: usize = 40;

fn frame() -> impl Strategy<Value = Frame> {
    let payload = || vec(any::<u8>(), 0..20).prop_map(Bytes::from);
    let body = prop_oneof![
        payload().prop_map(|bytes| Body::Bytes(Stream::Stdout, bytes)),
        payload().prop_map(|bytes| Body::Bytes(Stream::Stderr, bytes)),
        payload().prop_map(|bytes| Body::Bytes(Stream::System, bytes)),
        any::<u32>().prop_map(|bytes| Body::Gap(bytes.into())),
    ];
    (any::<u64>(), body).prop_map(|(time, body)| Frame { time, body })
}

/// Frames, and which ranges of them are sent.
fn upload() -> impl Strategy<Value = (Vec<Frame>, Vec<(usize, usize)>)> {
    vec(frame(), 1..12).prop_flat_map(|frames| {
        let edges = 0..=frames.len();
        (Just(frames), vec((edges.clone(), edges), 1..12))
    })
}

async fn any_way_of_sending_stores_the_log_once(store: TestStore) {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    for _ in 0..LOGS {
        let (frames, mut sends) = upload().new_tree(&mut runner).unwrap().current();
        // In the end everything is sent once more.
        sends.push((0, frames.len()));
        check(&store, &frames, &sends).await;
    }
}

async fn check(store: &TestStore, frames: &[Frame], sends: &[(usize, usize)]) {
    let held = store.submit_and_claim(spec("true")).await;
    let length = |frames: &[Frame]| frames.iter().map(Frame::encoded_len).sum::<usize>() as u64;
    let mut known = 0;
    for &(a, b) in sends {
        let (from, to) = (a.min(b), a.max(b));
        let append = held.append(length(&frames[..from]), encode(&frames[from..to]));
        let answer = store.append_log(append).await.unwrap();
        let head = match answer {
            Appended::Stored(head) if from <= known => head,
            Appended::Misplaced(head) if from > known => head,
            other => panic!("{other:?} for {from}..{to} of {frames:?}, {known} known"),
        };
        if from <= known {
            known = known.max(to);
        }
        assert_eq!(head.offset, length(&frames[..known]));
    }
    let order = Order::Ascending;
    let chunks = store.log_chunks(held.job.id, AttemptNo(1), 0..u64::MAX, order, 99).await.unwrap();
    let stored: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.frames.to_vec()).collect();
    assert_eq!(stored, encode(frames));
    let head = store.log_head(held.job.id, AttemptNo(1)).await.unwrap().unwrap();
    let mut crc = crc32fast::Hasher::new();
    let (mut output, mut gap) = (0, 0);
    for frame in frames {
        match &frame.body {
            Body::Bytes(Stream::System, _) => {}
            Body::Bytes(_, bytes) => {
                crc.update(bytes);
                output += bytes.len() as u64;
            }
            Body::Gap(bytes) => gap += bytes,
        }
    }
    assert_eq!((head.output, head.gap, head.crc32), (output, gap, crc.finalize()));
    let counted: u64 = chunks.iter().map(|chunk| chunk.stdout + chunk.stderr).sum();
    assert_eq!(counted, output);
}
