//! Follows a job's log as a stream of events: what is stored, then what comes, through all
//! attempts, until the job has ended and everything was read.

use std::{collections::VecDeque, mem, sync::Arc, time::Duration};

use futures::{Stream, stream};
use orchestra_contracts::{
    AttemptNo, JobId,
    event::Cursor,
    frame::{Body, Frame, Frames},
};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::{
    Hub, Reading, Start, Watch,
    shared::{JobSnapshot, is_small},
};
use crate::{
    domain::{Job, JobState},
    store::{LogChunk, Order, Store, StoreError},
};

/// The poll interval, because a wake-up may be lost.
const POLL: Duration = Duration::from_secs(1);
/// One read takes the chunks of so many bytes of the log, and one chunk more at most.
const PAGE_BYTES: u64 = 1 << 20;
const PAGE_CHUNKS: u32 = 256;

#[derive(Clone, Debug, PartialEq)]
pub enum FollowEvent {
    Log {
        attempt: AttemptNo,
        frame: Frame,
        after: Cursor,
    },
    /// The job's status: the first one, and each change.
    State {
        job: Box<Job>,
        after: Cursor,
    },
    /// The job, or the requested attempt, has ended, and all of it was read.
    End {
        job: Box<Job>,
        after: Cursor,
    },
}

/// Why a stream ended early. A deleted job ends it without an error.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    #[error("the database cannot be used: {0}")]
    Store(#[from] StoreError),
    #[error("the master is shutting down")]
    ShuttingDown,
}

/// A reader of a job's log.
#[derive(Debug)]
pub struct Follow {
    store: Arc<dyn Store>,
    watch: Watch,
    shutdown: CancellationToken,
    id: JobId,
    reading: Reading,
    cursor: Cursor,
    skip: usize,
    ready: VecDeque<FollowEvent>,
    /// The number of attempts and the state that were announced last.
    announced: Option<(u32, mem::Discriminant<JobState>)>,
    over: bool,
    /// The follower has caught up, so that its reads are small.
    caught_up: bool,
    place: Option<OwnedSemaphorePermit>,
}

enum Step {
    /// There may be more: read again at once.
    Go,
    /// Everything was read; wait for a change.
    Wait,
    Over,
}

impl Follow {
    pub fn new(
        store: Arc<dyn Store>,
        hub: &Hub,
        shutdown: CancellationToken,
        id: JobId,
        reading: Reading,
    ) -> Self {
        let Start { mut cursor, skip } = reading.start;
        if let Some(only) = reading.attempt.filter(|only| cursor.attempt != only.0) {
            cursor = Cursor::start_of(only);
        }
        let (watch, ready) = (hub.watch(id), VecDeque::new());
        Self {
            store,
            watch,
            shutdown,
            id,
            reading,
            cursor,
            skip,
            ready,
            announced: None,
            over: false,
            caught_up: false,
            place: None,
        }
    }

    /// Holds this permit to read until the end of the stream.
    #[must_use]
    pub fn holding(mut self, place: OwnedSemaphorePermit) -> Self {
        self.place = Some(place);
        self
    }

    /// The events in order; nothing follows an error.
    pub fn events(self) -> impl Stream<Item = Result<FollowEvent, FollowError>> + Send + 'static {
        stream::unfold(self, |mut follow| async {
            let event = follow.next().await.transpose()?;
            follow.over |= event.is_err();
            Some((event, follow))
        })
    }

    async fn next(&mut self) -> Result<Option<FollowEvent>, FollowError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            if self.over {
                return Ok(None);
            }
            if self.shutdown.is_cancelled() {
                return Err(FollowError::ShuttingDown);
            }
            // In this order nothing that happens in between is missed.
            self.watch.seen();
            match self.advance().await? {
                Step::Go => {}
                Step::Wait if !self.reading.follow => self.over = true,
                // What the look has found is told before anything is waited for.
                Step::Wait if !self.ready.is_empty() => {}
                Step::Wait => self.wait().await,
                Step::Over => self.over = true,
            }
        }
    }

    async fn wait(&mut self) {
        tokio::select! {
            biased;
            () = self.watch.changed() => {}
            () = tokio::time::sleep(POLL) => {}
            () = self.shutdown.cancelled() => {}
        }
    }

    /// Reads first the job, then its log: the log of an attempt that had ended by then is complete.
    async fn advance(&mut self) -> Result<Step, StoreError> {
        let snapshot = self.watch.job(&*self.store).await?;
        let Some(job) = snapshot.job.clone() else { return Ok(Step::Over) };
        if self.cursor.attempt == 0 && job.attempts > 0 {
            self.cursor = Cursor::start_of(AttemptNo(1));
        }
        if job.lease().is_some() && self.cursor.attempt >= job.attempts {
            self.announce(&job);
        }
        if self.read(&snapshot).await? {
            return Ok(Step::Go);
        }
        let newest = self.cursor.attempt >= job.attempts;
        let ended = job.status().is_final();
        let over = match self.reading.attempt {
            Some(only) => {
                ended || only.0 < job.attempts || (only.0 == job.attempts && job.lease().is_none())
            }
            None => ended && newest,
        };
        if over {
            return Ok(self.end(&job));
        }
        if !newest && self.reading.attempt.is_none() {
            self.cursor = Cursor::start_of(AttemptNo(self.cursor.attempt + 1));
            return Ok(Step::Go);
        }
        self.announce(&job);
        Ok(Step::Wait)
    }

    /// Reads the next page of the log; false if there is none.
    async fn read(&mut self, snapshot: &JobSnapshot) -> Result<bool, StoreError> {
        let Cursor { attempt, offset } = self.cursor;
        if attempt == 0 {
            return Ok(false);
        }
        let attempt = AttemptNo(attempt);
        if self.caught_up {
            let (store, page) = (&*self.store, (PAGE_BYTES, PAGE_CHUNKS));
            let at = (attempt, offset);
            let chunks = self.watch.reads().page(store, self.id, at, page, snapshot).await?;
            for chunk in chunks.iter() {
                self.take(attempt, chunk.clone());
            }
            // Whoever falls behind reads alone.
            self.caught_up = is_small(&chunks);
        } else {
            let range = offset..offset.saturating_add(PAGE_BYTES);
            let order = Order::Ascending;
            let chunks = self.store.log_chunks(self.id, attempt, range, order, PAGE_CHUNKS).await?;
            for chunk in chunks {
                self.take(attempt, chunk);
            }
        }
        let found = self.cursor.offset > offset;
        self.caught_up |= !found;
        Ok(found)
    }

    /// A made-up cursor may point into a frame: then the whole frame is sent, since twice is better
    /// than never.
    fn take(&mut self, attempt: AttemptNo, chunk: LogChunk) {
        let mut end = chunk.offset;
        // Only whole, known frames are ever stored.
        for frame in Frames::new(chunk.frames).map_while(Result::ok) {
            end += frame.encoded_len() as u64;
            if end <= self.cursor.offset {
                continue;
            }
            self.cursor.offset = end;
            let frame = skip_bytes(frame, mem::take(&mut self.skip));
            if let Some(frame) = frame.filter(|frame| self.reading.streams.wants(&frame.body)) {
                self.ready.push_back(FollowEvent::Log { attempt, frame, after: self.cursor });
            }
        }
    }

    fn announce(&mut self, job: &Job) {
        let now = (job.attempts, mem::discriminant(&job.state));
        if self.announced.replace(now) != Some(now) {
            let job = Box::new(job.clone());
            self.ready.push_back(FollowEvent::State { job, after: self.cursor });
        }
    }

    fn end(&mut self, job: &Job) -> Step {
        let (job, after) = (Box::new(job.clone()), self.cursor);
        self.ready.push_back(FollowEvent::End { job, after });
        Step::Over
    }
}

/// The frame without its first bytes; `None` if none are left.
fn skip_bytes(frame: Frame, skip: usize) -> Option<Frame> {
    match frame.body {
        Body::Bytes(source, bytes) if skip > 0 => (skip < bytes.len())
            .then(|| Frame { time: frame.time, body: Body::Bytes(source, bytes.slice(skip..)) }),
        Body::Bytes(..) | Body::Gap(_) => Some(frame),
    }
}
