//! What many followers of one job look at in the same moment is read once.

use std::{sync::Arc, time::Duration};

use orchestra_contracts::{AttemptNo, JobId};
use tokio::{sync::Mutex, time::Instant};

use crate::{
    domain::Job,
    store::{LogChunk, Order, Store, StoreError},
};

/// A look is not shared for longer, whether or not a bell was rung since.
const FRESH: Duration = Duration::from_millis(500);
/// Pages with more bytes are not kept: only those who have read everything
/// before share one, and what is new is little.
const SMALL: usize = 64 << 10;

/// The newest looks at one job.
#[derive(Default)]
pub(super) struct Looks(Mutex<Newest>);

#[derive(Default)]
struct Newest {
    job: Option<Look>,
    page: Option<Page>,
}

/// A job as it was.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) job: Option<Arc<Job>>,
    begun: Instant,
    /// How often the bell had been rung before it.
    rings: u64,
}

struct Page {
    attempt: AttemptNo,
    offset: u64,
    begun: Instant,
    chunks: Arc<Vec<LogChunk>>,
}

impl Looks {
    /// The job as it was after so many rings of its bell, or later. `now` tells
    /// how many there are.
    pub(super) async fn job(
        &self,
        store: &dyn Store,
        id: JobId,
        rings: u64,
        now: impl Fn() -> u64,
    ) -> Result<Look, StoreError> {
        let mut newest = self.0.lock().await;
        let known = newest.job.as_ref();
        if let Some(look) = known.filter(|it| it.rings >= rings && it.begun.elapsed() < FRESH) {
            return Ok(look.clone());
        }
        // Counted first: what is rung for later may be missing.
        let (rings, begun) = (now(), Instant::now());
        let job = store.job(id).await?.map(Arc::new);
        let look = Look { job, begun, rings };
        newest.job = Some(look.clone());
        Ok(look)
    }

    /// What there is of a log from `offset` on, read after `look`: what had
    /// ended by then is all there.
    pub(super) async fn page(
        &self,
        store: &dyn Store,
        id: JobId,
        (attempt, offset): (AttemptNo, u64),
        (bytes, limit): (u64, u32),
        look: &Look,
    ) -> Result<Arc<Vec<LogChunk>>, StoreError> {
        let mut newest = self.0.lock().await;
        let known = newest.page.as_ref().filter(|page| {
            (page.attempt, page.offset) == (attempt, offset) && page.begun >= look.begun
        });
        if let Some(page) = known {
            return Ok(page.chunks.clone());
        }
        let (begun, range) = (Instant::now(), offset..offset.saturating_add(bytes));
        let chunks = store.log_chunks(id, attempt, range, Order::Ascending, limit).await?;
        let chunks = Arc::new(chunks);
        if is_small(&chunks) {
            newest.page = Some(Page { attempt, offset, begun, chunks: chunks.clone() });
        }
        Ok(chunks)
    }
}

/// Whether a page is worth keeping for others.
pub(super) fn is_small(chunks: &[LogChunk]) -> bool {
    chunks.iter().map(|chunk| chunk.frames.len()).sum::<usize>() <= SMALL
}
