//! How things stand at one moment.

use std::collections::VecDeque;

use futures::TryStreamExt;
use jiff::Timestamp;
use orchestra_client::{Client, ClientError, JobQuery, ListOrder, LogQuery};
use orchestra_contracts::{Job, JobId, JobStatus, Queue, worker::Worker};

use crate::clock;

/// Of each kind of job, so many are shown; nobody scrolls further.
const SHOWN: u32 = 100;
/// Of a log, so many of its last bytes are held.
const LOG_BYTES: usize = 256 << 10;

#[derive(Debug)]
pub(super) struct Picture {
    pub(super) at: Timestamp,
    pub(super) workers: Vec<Worker>,
    pub(super) queues: Vec<Queue>,
    /// What runs, oldest first; then what waits, in its order; then what has ended, newest first.
    pub(super) jobs: Vec<Job>,
}

impl Picture {
    pub(super) async fn take(client: &Client) -> Result<Self, ClientError> {
        let of = |statuses: &[JobStatus], order| JobQuery {
            statuses: statuses.to_vec(),
            order,
            limit: Some(SHOWN),
            ..JobQuery::default()
        };
        let held = of(&[JobStatus::Assigned, JobStatus::Running], ListOrder::Oldest);
        let waiting = of(&[JobStatus::Pending], ListOrder::Oldest);
        let ended = [JobStatus::Completed, JobStatus::Failed, JobStatus::Cancelled];
        let ended = of(&ended, ListOrder::Newest);
        let (workers, queues, held, waiting, ended) = tokio::try_join!(
            client.workers(),
            client.queues(),
            client.jobs(&held),
            client.jobs(&waiting),
            client.jobs(&ended)
        )?;
        let jobs = [held.jobs, waiting.jobs, ended.jobs].concat();
        Ok(Self { at: clock::now(), workers, queues, jobs })
    }
}

/// The last lines of a job's output, with what of it is no text replaced.
pub(super) async fn last_lines(
    client: &Client,
    id: JobId,
    lines: u32,
) -> Result<String, ClientError> {
    let query = LogQuery { tail: Some(lines), ..LogQuery::default() };
    let mut log = std::pin::pin!(client.log_text(id, &query).await?);
    let mut kept = VecDeque::new();
    while let Some(piece) = log.try_next().await? {
        kept.extend(piece);
        // A line may have any length.
        kept.drain(..kept.len().saturating_sub(LOG_BYTES));
    }
    Ok(String::from_utf8_lossy(kept.make_contiguous()).into_owned())
}
