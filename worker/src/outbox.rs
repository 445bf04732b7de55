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
mod tests {
    use orchestra_contracts::frame::Frames;
    use rstest::rstest;

    use super::*;
    use crate::testing::{Append, FakeMaster, lease_ref, worker};

    fn frame(stream: Stream, bytes: &[u8]) -> Frame {
        Frame { time: 7, body: Body::Bytes(stream, bytes.to_vec().into()) }
    }

    fn numbered(count: usize) -> Vec<Frame> {
        let stream = |n| if n % 3 == 0 { Stream::Stderr } else { Stream::Stdout };
        (0..count).map(|n| frame(stream(n), format!("line {n}\n").as_bytes())).collect()
    }

    fn open_at(master: &Arc<FakeMaster>, stored: LogHead) -> (Outbox, Upload) {
        open(master.clone(), alone(), worker("w"), lease_ref(1, 1), stored)
    }

    async fn upload(master: &Arc<FakeMaster>, frames: &[Frame]) -> Result<LogEnd, UploadError> {
        upload_after(master, LogHead::default(), frames).await
    }

    /// Of a worker whose master does not take a rest along.
    fn alone() -> Arc<Link> {
        let link = Arc::<Link>::default();
        link.note_no_rests();
        link
    }

    async fn upload_after(
        master: &Arc<FakeMaster>,
        stored: LogHead,
        frames: &[Frame],
    ) -> Result<LogEnd, UploadError> {
        let (outbox, upload) = open_at(master, stored);
        let push = async {
            for frame in frames {
                outbox.push(frame.clone()).await;
                tokio::task::yield_now().await;
            }
            drop(outbox);
        };
        tokio::join!(upload.run(), push).0.map(|closed| closed.end)
    }

    #[rstest]
    #[case::nothing_goes_wrong(&[])]
    #[case::the_answer_is_lost(&[Append::LoseAnswer, Append::Store, Append::LoseAnswer])]
    #[case::the_request_is_lost(&[Append::LoseRequest, Append::LoseRequest])]
    #[case::the_connection_is_cut_within_a_batch(&[Append::StoreFirstFrame, Append::Store, Append::StoreFirstFrame])]
    #[case::a_cut_is_answered_with_a_problem(&[Append::StoreFirstFrameAndComplain])]
    #[case::the_master_is_unwell(&[Append::Unwell, Append::Unwell, Append::LoseAnswer])]
    #[tokio::test(start_paused = true)]
    async fn every_byte_arrives_once(#[case] script: &[Append]) {
        let master = FakeMaster::scripted(script);
        let mut frames = numbered(200);
        frames.push(Frame { time: 9, body: Body::Gap(5) });
        frames.push(frame(Stream::System, b"note\n"));
        let end = upload(&master, &frames).await.unwrap();

        let log = master.log();
        assert_eq!(end.offset, log.len() as u64);
        let stored: Vec<_> = Frames::new(log).map(Result::unwrap).collect();
        assert_eq!(stored, frames);
        let text: Vec<_> = (0..200).map(|n| format!("line {n}\n")).collect();
        let text = text.concat();
        assert_eq!(end.crc32, crc32fast::hash(text.as_bytes()));
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_where_another_has_stopped() {
        let master = FakeMaster::scripted(&[]);
        let frames = numbered(20);
        let first = upload(&master, &frames[..7]).await.unwrap();
        let output = (0..7).map(|n| format!("line {n}\n").len() as u64).sum();
        let stored = LogHead { offset: first.offset, output, gap: 0, crc32: first.crc32 };
        let end = upload_after(&master, stored, &frames[7..]).await.unwrap();
        let at_once = upload(&FakeMaster::scripted(&[]), &frames).await.unwrap();
        assert_eq!(end, at_once);
    }

    #[tokio::test(start_paused = true)]
    async fn no_request_is_larger_than_a_batch() {
        let master = FakeMaster::scripted(&[]);
        let frames = vec![frame(Stream::Stdout, &vec![7; MAX_PAYLOAD]); 40];
        upload(&master, &frames).await.unwrap();
        let largest = master.requests().into_iter().max().unwrap();
        assert!(largest > MAX_BATCH / 2 && largest <= MAX_BATCH, "{largest}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_bytes_go_at_once_and_the_rest_together() {
        let master = FakeMaster::scripted(&[]);
        let (outbox, upload) = open_at(&master, LogHead::default());
        for frame in numbered(100) {
            outbox.push(frame).await;
        }
        drop(outbox);
        upload.run().await.unwrap();
        assert_eq!(master.requests().len(), 1);
    }

    /// What the upload leaves of frames that were there when the outbox was dropped.
    async fn left_of(link: Arc<Link>, frames: &[Frame]) -> (Arc<FakeMaster>, Closed) {
        let master = FakeMaster::scripted(&[Append::LoseAnswer]);
        let lease = lease_ref(1, 1);
        let (outbox, upload) = open(master.clone(), link, worker("w"), lease, LogHead::default());
        for frame in frames {
            outbox.push(frame.clone()).await;
        }
        drop(outbox);
        let closed = upload.run().await.unwrap();
        (master, closed)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_on_its_way_at_the_end_is_left_for_the_report() {
        let frames = numbered(100);
        let (master, mut closed) = left_of(Arc::default(), &frames).await;
        assert_eq!(master.requests(), [0; 0]);
        let rest: Vec<_> = Frames::new(closed.rest.clone()).map(Result::unwrap).collect();
        assert_eq!(rest, frames);
        assert_eq!(closed.end.offset, closed.rest.len() as u64);
        closed.store_rest().await.unwrap();
        assert_eq!(master.log().len() as u64, closed.end.offset);
        let (other, sent) = left_of(alone(), &frames).await;
        assert_eq!((other.log(), sent.rest.len()), (master.log(), 0));
        assert_eq!(sent.end, closed.end);
    }

    #[rstest]
    #[case(MAX_REST - HEADER, MAX_REST)]
    #[case(MAX_REST - HEADER + 1, 0)]
    #[tokio::test(start_paused = true)]
    async fn only_what_is_little_is_left(#[case] bytes: usize, #[case] left: usize) {
        let (_, closed) = left_of(Arc::default(), &[frame(Stream::Stdout, &vec![7; bytes])]).await;
        assert_eq!(closed.rest.len(), left);
    }

    #[tokio::test(start_paused = true)]
    async fn while_it_may_go_on_nothing_is_held_back() {
        let master = FakeMaster::scripted(&[]);
        let lease = lease_ref(1, 1);
        let (outbox, upload) =
            open(master.clone(), Arc::default(), worker("w"), lease, LogHead::default());
        let talk = async {
            outbox.push(numbered(1).remove(0)).await;
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            assert_eq!(master.requests().len(), 1);
            drop(outbox);
        };
        let (closed, ()) = tokio::join!(upload.run(), talk);
        assert_eq!(closed.unwrap().rest.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_outbox_waits_for_the_master() {
        let (outbox, upload) = open_at(&FakeMaster::scripted(&[]), LogHead::default());
        let fill = async {
            for _ in 0..=MAX_WAITING / MAX_PAYLOAD {
                outbox.push(frame(Stream::Stdout, &vec![7; MAX_PAYLOAD])).await;
            }
        };
        tokio::pin!(fill);
        assert!(futures::poll!(&mut fill).is_pending(), "it must not take more than its limit");
        let (_, ()) = tokio::join!(
            async { tokio::time::timeout(std::time::Duration::from_secs(1), upload.run()).await },
            fill
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_lease_ends_the_upload_and_frees_the_writer() {
        let master = FakeMaster::scripted(&[Append::Store, Append::LeaseLost]);
        let frames = vec![frame(Stream::Stdout, &vec![7; MAX_PAYLOAD]); 100];
        let error = upload(&master, &frames).await.unwrap_err();
        assert!(matches!(error, UploadError::LeaseLost), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_somebody_else_wrote_to_is_noticed() {
        let master = FakeMaster::scripted(&[Append::Store, Append::AnswerOffset(1)]);
        let error = upload(&master, &numbered(5)).await.unwrap_err();
        assert!(matches!(error, UploadError::Misplaced { stored: 1, .. }), "{error}");
    }
}
