//! Properties that must hold for any bytes. The fuzz targets and `tests/tests/fuzz_smoke.rs` share
//! this file.

use bytes::{Bytes, BytesMut};
use orchestra_contracts::{
    JobSpec,
    frame::{Frame, Frames},
    worker::{ClaimRequest, Heartbeat, JobUpdate, Registration},
};
use orchestra_sandbox::protocol::{Command, Decoder, Event, Malformed, Message};
use serde::{Serialize, de::DeserializeOwned};

/// Both directions of the protocol between a worker and PID 1.
pub(crate) fn sandbox_frames(bytes: &[u8]) {
    messages::<Event>(bytes);
    messages::<Command>(bytes);
}

/// Decoding does not depend on where the input is split, and an encoded message decodes to itself.
fn messages<M: Message + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let (whole, end) = read::<M>(bytes.chunks(usize::MAX));
    let step = usize::from(bytes.first().copied().unwrap_or(0) % 16) + 1;
    assert_eq!((&whole, &end), (&read::<M>(bytes.chunks(step)).0, &end));
    let mut written = Vec::new();
    for message in &whole {
        message.encode(&mut written);
    }
    assert_eq!(read::<M>(written.chunks(usize::MAX)), (whole, None));
}

/// The decoded messages, and the error that stopped the decoder.
fn read<'a, M: Message>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<M>, Option<Malformed>) {
    let mut decoder = Decoder::default();
    let mut messages = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(malformed) => return (messages, Some(malformed)),
            }
        }
    }
    (messages, None)
}

/// Log offsets count encoded bytes, so each frame has exactly one encoding.
pub(crate) fn log_upload(bytes: &[u8]) {
    let frames: Result<Vec<Frame>, _> = Frames::new(Bytes::copy_from_slice(bytes)).collect();
    let Ok(frames) = frames else { return };
    let mut written = BytesMut::new();
    for frame in &frames {
        frame.encode(&mut written);
    }
    assert_eq!(written, bytes);
    assert_eq!(frames.iter().map(Frame::encoded_len).sum::<usize>(), bytes.len());
}

/// Request bodies: what was parsed serialises to something that parses to the same value.
pub(crate) fn job_spec(bytes: &[u8]) {
    if let Some(spec) = again::<JobSpec>(bytes) {
        let wrong = spec.validate();
        assert!(wrong.iter().all(|error| error.pointer.starts_with('/')), "{wrong:?}");
    }
    again::<ClaimRequest>(bytes);
    again::<JobUpdate>(bytes);
    again::<Registration>(bytes);
    again::<Heartbeat>(bytes);
}

fn again<T>(bytes: &[u8]) -> Option<T>
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let read: T = serde_json::from_slice(bytes).ok()?;
    let written = serde_json::to_vec(&read).expect("what was read can be written");
    let again: T = serde_json::from_slice(&written).expect("what was written can be read");
    assert_eq!(again, read);
    Some(read)
}
