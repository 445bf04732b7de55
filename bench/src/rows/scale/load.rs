//! The clients that submit.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::tally::{QUEUES, Tally};
use crate::{args::Size, error::BenchError, link::Link};

/// Jobs in one request.
const BATCH: usize = 25;
const SUBMITTERS: usize = 4;
/// Open jobs for each slot, so that one is always queued.
const AHEAD: usize = 2;

fn spec(queue: usize, tally: &Tally) -> Value {
    json!({
        "command": "true", "name": tally.stamp().to_string(), "queue": format!("q{}", queue % QUEUES),
    })
}

/// Submits jobs one by one at this pace; returns when all have finished.
pub(super) async fn steadily(
    ports: &[u16],
    jobs: usize,
    pace: u32,
    tally: &Arc<Tally>,
) -> Result<(), BenchError> {
    let mut links = Vec::new();
    for port in ports {
        links.push(Link::open(*port).await?);
    }
    let mut tick = tokio::time::interval(Duration::from_secs(1) / pace);
    for job in 0..jobs {
        let _ = tick.tick().await;
        let link = job % ports.len();
        let body = spec(job, tally).to_string();
        links[link].post("/api/job", &body).await?.expect(201)?;
    }
    all_ended(tally, jobs).await
}

/// Submits jobs as fast as possible; returns the time from the first submission to the last end.
pub(super) async fn at_once(
    ports: &[u16],
    size: Size,
    jobs: usize,
    tally: &Arc<Tally>,
) -> Result<Duration, BenchError> {
    let ahead = (size.workers * size.slots * AHEAD).max(BATCH * SUBMITTERS);
    tally.room.add_permits(ahead);
    let start = Instant::now();
    let mut submitters = JoinSet::new();
    for number in 0..SUBMITTERS {
        let (port, tally) = (ports[number % ports.len()], tally.clone());
        let share = jobs / SUBMITTERS + usize::from(number < jobs % SUBMITTERS);
        submitters.spawn(submit(port, share, tally));
    }
    while let Some(ended) = submitters.join_next().await {
        ended.map_err(|error| BenchError::unexpected(error.to_string()))??;
    }
    all_ended(tally, ahead).await?;
    Ok(start.elapsed())
}

async fn submit(port: u16, mut left: usize, tally: Arc<Tally>) -> Result<(), BenchError> {
    let mut link = Link::open(port).await?;
    while left > 0 {
        let batch = left.min(BATCH);
        left -= batch;
        take(&tally, batch).await?;
        let specs: Vec<Value> = (0..batch).map(|job| spec(job, &tally)).collect();
        link.post("/api/job", &Value::from(specs).to_string()).await?.expect(201)?;
    }
    Ok(())
}

async fn take(tally: &Tally, places: usize) -> Result<(), BenchError> {
    let places = u32::try_from(places).unwrap_or(u32::MAX);
    let taken = tally.room.acquire_many(places).await;
    taken.map_err(|error| BenchError::unexpected(error.to_string()))?.forget();
    Ok(())
}

/// Waits until this many jobs have finished and released their permits.
async fn all_ended(tally: &Tally, jobs: usize) -> Result<(), BenchError> {
    const LIMIT: Duration = Duration::from_mins(5);
    let ended = tokio::time::timeout(LIMIT, take(tally, jobs)).await;
    ended.unwrap_or_else(|_| Err(BenchError::unexpected("jobs were lost: not all have ended")))
}
