//! An attempt's log on its way to the master: in order, every byte exactly once.
//!
//! [`Outbox::push`] takes frames and waits while a megabyte of them is not yet
//! stored; that is how a slow master slows down the command. [`Upload::run`]
//! sends the first frame at once and then whatever has gathered while the last
//! request was under way. What it has not begun to send when the outbox is dropped, and is
//! little, it leaves for the report of the end ([`Closed::rest`]). It never gives up on a master
//! that does not answer: that is for the lease to decide.

use std::{mem, sync::Arc};

use bytes::{Buf, Bytes, BytesMut};
use orchestra_client::{Backoff, ClientError};
use orchestra_contracts::{
    ProblemKind, WorkerName,
    frame::{Body, Frame, HEADER, MAX_PAYLOAD, Stream},
    worker::{LeaseRef, LogEnd, LogHead, MAX_REST},
};
use tokio::sync::{Semaphore, mpsc, mpsc::error::TryRecvError};

use crate::master::{Link, Master, is_lease_lost};

/// Encoded bytes that wait to be stored. Enough for several requests, little
/// enough that a hundred attempts fit into memory.
const MAX_WAITING: usize = 1 << 20;
/// Small frames cost more memory than their bytes, so their number is bounded, too.
const MAX_FRAMES: usize = 4096;
/// One request carries at most so many bytes.
const MAX_BATCH: usize = 256 << 10;

/// Why the rest of a log was not stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    #[error("the lease is lost")]
    LeaseLost,
    #[error("the master refused a piece of the log: {0}")]
    Refused(ClientError),
    #[error("the master has {stored} bytes of the log where the worker has sent {sent}")]
    Misplaced { sent: u64, stored: u64 },
}

/// Takes the frames of one attempt. Drop it when there are no more.
#[derive(Debug)]
pub(crate) struct Outbox {
    frames: mpsc::Sender<Frame>,
    room: Arc<Semaphore>,
}

/// Brings them to the master.
pub(crate) struct Upload {
    master: Arc<dyn Master>,
    link: Arc<Link>,
    worker: WorkerName,
    lease: LeaseRef,
    frames: mpsc::Receiver<Frame>,
    room: Arc<Semaphore>,
    /// So many encoded bytes are stored.
    offset: u64,
    crc32: crc32fast::Hasher,
}

/// A log that has ended. All of it is stored, but for its rest.
pub(crate) struct Closed {
    pub(crate) end: LogEnd,
    /// The last frames, at most [`MAX_REST`] bytes of them.
    pub(crate) rest: Bytes,
    upload: Upload,
}

/// Frames that are sent together.
struct Batch {
    frames: Bytes,
    /// There will be no more.
    is_last: bool,
}

/// The two ends of one attempt's log, of which so much is stored already.
pub(crate) fn open(
    master: Arc<dyn Master>,
    link: Arc<Link>,
    worker: WorkerName,
    lease: LeaseRef,
    stored: LogHead,
) -> (Outbox, Upload) {
    let (sender, receiver) = mpsc::channel(MAX_FRAMES);
    let room = Arc::new(Semaphore::new(MAX_WAITING));
    let outbox = Outbox { frames: sender, room: room.clone() };
    let crc32 = crc32fast::Hasher::new_with_initial_len(stored.crc32, stored.output);
    let offset = stored.offset;
    let upload = Upload { master, link, worker, lease, frames: receiver, room, offset, crc32 };
    (outbox, upload)
}

impl Outbox {
    /// Waits until there is room. Once the upload has failed, frames go nowhere:
    /// its error says what becomes of the attempt.
    pub(crate) async fn push(&self, frame: Frame) {
        let Ok(room) = self.room.acquire_many(frame.encoded_len() as u32).await else { return };
        room.forget();
        // An error means the same as above.
        let _ = self.frames.send(frame).await;
    }

    /// Returns when the upload has failed.
    pub(crate) async fn closed(&self) {
        self.frames.closed().await;
    }
}

impl Upload {
    /// Returns when the outbox is dropped and all of it is stored, but for the rest.
    pub(crate) async fn run(mut self) -> Result<Closed, UploadError> {
        let mut rest = Bytes::new();
        while let Some(Batch { frames, is_last }) = self.next_batch().await {
            let length = frames.len();
            if is_last && length <= MAX_REST && self.link.takes_rests() {
                rest = frames;
                break;
            }
            self.store(frames).await?;
            self.room.add_permits(length);
        }
        let offset = self.offset + rest.len() as u64;
        let end = LogEnd { offset, crc32: self.crc32.clone().finalize() };
        Ok(Closed { end, rest, upload: self })
    }

    /// At least one frame, and all that have gathered, up to a request's worth.
    async fn next_batch(&mut self) -> Option<Batch> {
        let (mut batch, mut is_last) = (BytesMut::new(), false);
        let mut next = Some(self.frames.recv().await?);
        while let Some(frame) = next {
            if let Body::Bytes(Stream::Stdout | Stream::Stderr, bytes) = &frame.body {
                self.crc32.update(bytes);
            }
            frame.encode(&mut batch);
            let full = batch.len() + HEADER + MAX_PAYLOAD > MAX_BATCH;
            next = None;
            if !full {
                match self.frames.try_recv() {
                    Ok(frame) => next = Some(frame),
                    Err(error) => is_last = error == TryRecvError::Disconnected,
                }
            }
        }
        Some(Batch { frames: batch.freeze(), is_last })
    }

    /// Sends until all of it is stored, from wherever the master says its log ends.
    async fn store(&mut self, mut rest: Bytes) -> Result<(), UploadError> {
        let mut backoff = Backoff::default();
        while !rest.is_empty() {
            let Some(stored) = self.append(&rest).await? else {
                tokio::time::sleep(backoff.next()).await;
                continue;
            };
            let fits = |new: &u64| (1..=rest.len() as u64).contains(new);
            let new = stored
                .checked_sub(self.offset)
                .filter(fits)
                .ok_or(UploadError::Misplaced { sent: self.offset, stored })?;
            rest.advance(new as usize);
            self.offset = stored;
        }
        Ok(())
    }

    /// One request. `None`: no usable answer, it may be stored or not.
    async fn append(&self, frames: &Bytes) -> Result<Option<u64>, UploadError> {
        let sent =
            self.master.append_log(&self.worker, &self.lease, self.offset, frames.clone()).await;
        self.link.note(&sent);
        match sent {
            Ok(head) => Ok(Some(head.offset)),
            Err(error) if is_lease_lost(&error) => Err(UploadError::LeaseLost),
            Err(error) if error.is_temporary() => Ok(None),
            Err(ClientError::Refused(problem)) if problem.kind == ProblemKind::LogOffset => {
                match problem.log {
                    Some(head) => Ok(Some(head.offset)),
                    None => Err(UploadError::Refused(ClientError::Refused(problem))),
                }
            }
            Err(error) => Err(UploadError::Refused(error)),
        }
    }
}

impl Closed {
    /// Sends the rest by itself, where the master did not take it along.
    pub(crate) async fn store_rest(&mut self) -> Result<(), UploadError> {
        let rest = mem::take(&mut self.rest);
        self.upload.store(rest).await
    }
}

impl Drop for Upload {
    /// Whoever waits for room would wait for ever.
    fn drop(&mut self) {
        self.room.close();
    }
}

#[cfg(test)]
mod tests;
