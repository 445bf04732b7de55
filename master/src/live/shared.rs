//! Shared reads: what many followers of one job need at the same moment is read from the store once.

use std::{sync::Arc, time::Duration};

use orchestra_contracts::{AttemptNo, JobId};
use tokio::{sync::Mutex, time::Instant};

use crate::{
    domain::Job,
    store::{LogChunk, Order, Store, StoreError},
};

/// A read is shared for this long at most, even if the job has not changed since.
const FRESH: Duration = Duration::from_millis(500);
/// The largest shared page, in bytes. Only followers that have caught up share a page, and what is
/// new to them is small.
const SMALL: usize = 64 << 10;

/// The latest reads of one job and its log.
#[derive(Default)]
pub(super) struct SharedReads(Mutex<Latest>);

#[derive(Default)]
struct Latest {
    job: Option<JobSnapshot>,
    page: Option<Page>,
}

/// A job as it was read.
#[derive(Clone, Debug)]
pub(super) struct JobSnapshot {
    pub(super) job: Option<Arc<Job>>,
    begun: Instant,
    /// How often the job had changed before the read.
    version: u64,
}

struct Page {
    attempt: AttemptNo,
    offset: u64,
    begun: Instant,
    chunks: Arc<Vec<LogChunk>>,
}

impl SharedReads {
    /// The job as it was after so many changes, or later. `now` returns the current number
    /// of changes.
    pub(super) async fn job(
        &self,
        store: &dyn Store,
        id: JobId,
        version: u64,
        now: impl Fn() -> u64,
    ) -> Result<JobSnapshot, StoreError> {
        let mut latest = self.0.lock().await;
        let known = latest.job.as_ref();
        if let Some(snapshot) =
            known.filter(|it| it.version >= version && it.begun.elapsed() < FRESH)
        {
            return Ok(snapshot.clone());
        }
        // Counted first: a change during the read may be missing from it.
        let (version, begun) = (now(), Instant::now());
        let job = store.job(id).await?.map(Arc::new);
        let snapshot = JobSnapshot { job, begun, version };
        latest.job = Some(snapshot.clone());
        Ok(snapshot)
    }

    /// The chunks of a log from `offset` on, read after `snapshot`: an attempt that had ended by
    /// then is complete.
    pub(super) async fn page(
        &self,
        store: &dyn Store,
        id: JobId,
        (attempt, offset): (AttemptNo, u64),
        (bytes, limit): (u64, u32),
        snapshot: &JobSnapshot,
    ) -> Result<Arc<Vec<LogChunk>>, StoreError> {
        let mut latest = self.0.lock().await;
        let known = latest.page.as_ref().filter(|page| {
            (page.attempt, page.offset) == (attempt, offset) && page.begun >= snapshot.begun
        });
        if let Some(page) = known {
            return Ok(page.chunks.clone());
        }
        let (begun, range) = (Instant::now(), offset..offset.saturating_add(bytes));
        let chunks = store.log_chunks(id, attempt, range, Order::Ascending, limit).await?;
        let chunks = Arc::new(chunks);
        if is_small(&chunks) {
            latest.page = Some(Page { attempt, offset, begun, chunks: chunks.clone() });
        }
        Ok(chunks)
    }
}

/// Whether a page is small enough to share.
pub(super) fn is_small(chunks: &[LogChunk]) -> bool {
    chunks.iter().map(|chunk| chunk.frames.len()).sum::<usize>() <= SMALL
}
