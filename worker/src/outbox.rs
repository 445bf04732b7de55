//! Uploads an attempt's log to the master: in order, every byte exactly once.
//!
//! [`Outbox::push`] takes frames, and waits while a megabyte of them is not stored yet: so a slow
//! master slows the command down. [`Upload::run`] sends the first frame at once, and then whatever
//! has gathered during the last request. If the frames that are left when the outbox is dropped are
//! small enough, they go into the report of the end ([`Closed::rest`]). The upload never gives up
//! on a master that does not answer: the lease decides that.

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

/// The most encoded bytes that wait to be stored. Enough for several requests, and little enough
/// that a hundred attempts fit into memory.
const MAX_WAITING: usize = 1 << 20;
/// The most frames that wait: small frames cost more memory than their bytes.
const MAX_FRAMES: usize = 4096;
/// The most bytes in one request.
const MAX_BATCH: usize = 256 << 10;

/// Why a log could not be stored to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    #[error("the lease is lost")]
    LeaseLost,
    #[error("the master refused a piece of the log: {0}")]
    Refused(ClientError),
    #[error("the master has {stored} bytes of the log where the worker has sent {sent}")]
    Misplaced { sent: u64, stored: u64 },
}

/// The sending end: takes the frames of one attempt. Drop it at the end of the log.
#[derive(Debug)]
pub(crate) struct Outbox {
    frames: mpsc::Sender<Frame>,
    room: Arc<Semaphore>,
}

/// The uploading end: sends the frames to the master.
pub(crate) struct Upload {
    master: Arc<dyn Master>,
    link: Arc<Link>,
    worker: WorkerName,
    lease: LeaseRef,
    frames: mpsc::Receiver<Frame>,
    room: Arc<Semaphore>,
    /// How many encoded bytes are stored.
    offset: u64,
    crc32: crc32fast::Hasher,
}

/// A log that has ended. All of it is stored, except its rest.
pub(crate) struct Closed {
    pub(crate) end: LogEnd,
    /// The last frames, at most [`MAX_REST`] bytes of them.
    pub(crate) rest: Bytes,
    upload: Upload,
}

/// Frames of one request.
struct Batch {
    frames: Bytes,
    /// These are the last frames.
    is_last: bool,
}

/// Opens the two ends of an attempt's log, of which `stored` is stored already.
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
    /// Adds a frame; waits until there is space. After a failure of the upload frames are
    /// discarded: its error decides what becomes of the attempt.
    pub(crate) async fn push(&self, frame: Frame) {
        let Ok(room) = self.room.acquire_many(frame.encoded_len() as u32).await else { return };
        room.forget();
        // An error means the same as above.
        let _ = self.frames.send(frame).await;
    }

    /// Waits until the upload has failed.
    pub(crate) async fn closed(&self) {
        self.frames.closed().await;
    }
}

impl Upload {
    /// Uploads until the outbox is dropped and everything except the rest is stored.
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

    /// Waits for at least one frame; returns all frames that have gathered, up to the size of a
    /// request.
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

    /// Sends frames until all are stored, from wherever the master says that its log ends.
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

    /// Sends one request. `None` if there is no usable answer: the frames may be stored or not.
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
    /// Uploads the rest, if the master did not accept it in the report.
    pub(crate) async fn store_rest(&mut self) -> Result<(), UploadError> {
        let rest = mem::take(&mut self.rest);
        self.upload.store(rest).await
    }
}

impl Drop for Upload {
    /// Closes the semaphore: a caller of `push` would wait for ever.
    fn drop(&mut self) {
        self.room.close();
    }
}

#[cfg(test)]
mod tests;
