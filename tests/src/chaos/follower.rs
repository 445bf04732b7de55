//! A reader of a job's event stream that resumes after every break.

use std::time::Duration;

use eventsource_stream::Eventsource;
use futures::StreamExt;
use orchestra_contracts::{
    AttemptNo, JobId,
    event::{self, LogEvent},
    paths,
};
use tokio::time::{Instant, sleep, timeout};

use super::Caller;
use crate::check::{Piece, What};

/// Longest silence before reconnecting; the master sends keep-alives more often.
const SILENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(200);

/// Follows the job until its end or until `deadline`; `None` when the job does not exist.
pub async fn follow(caller: &Caller, job: JobId, deadline: Instant) -> Option<What> {
    let mut log: Vec<(AttemptNo, Vec<Piece>)> = Vec::new();
    let mut last: Option<String> = None;
    while Instant::now() < deadline {
        let answer = match caller.open(&paths::log(job), last.as_deref()).await {
            Ok(answer) => answer,
            Err(Some(404)) => return None,
            Err(_) => {
                sleep(PAUSE).await;
                continue;
            }
        };
        let mut events = answer.bytes_stream().eventsource();
        while let Ok(Some(Ok(event))) = timeout(SILENCE, events.next()).await {
            match event.event.as_str() {
                event::LOG => {
                    let seen: LogEvent = serde_json::from_str(&event.data).ok()?;
                    let piece = Piece::of(&seen)?;
                    match log.last_mut().filter(|(attempt, _)| *attempt == seen.attempt) {
                        Some((_, pieces)) => pieces.push(piece),
                        None => log.push((seen.attempt, vec![piece])),
                    }
                    last = Some(event.id);
                }
                event::END => return Some(What::Followed { job, log, whole: true }),
                _ if !event.id.is_empty() => last = Some(event.id),
                _ => {}
            }
        }
        sleep(PAUSE).await;
    }
    Some(What::Followed { job, log, whole: false })
}
