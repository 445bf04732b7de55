//! One call that renews all leases of the worker and brings back which of them
//! are lost and which jobs are to be cancelled.

use std::time::Duration;

use orchestra_client::{Backoff, ClientError};
use orchestra_contracts::worker::Heartbeat;
use tokio::time::{Instant, sleep_until, timeout};

use super::Worker;

/// While jobs run, heartbeats go at least so often: a cancellation waits for the next one.
const WHILE_RUNNING: Duration = Duration::from_secs(1);

impl Worker {
    /// Goes on until it is dropped.
    pub(super) async fn heartbeats(&self, every: Duration) {
        let mut backoff = Backoff::new(every.min(Duration::from_millis(200)), every);
        let mut wait = every;
        loop {
            self.pause(wait).await;
            // No answer for that long is as good as none.
            wait = match timeout(every, self.beat()).await {
                Ok(Ok(())) => {
                    backoff.reset();
                    every
                }
                Ok(Err(_)) | Err(_) => backoff.next(),
            };
        }
    }

    /// Sleeps, less long when there are jobs by then.
    async fn pause(&self, wait: Duration) {
        let end = Instant::now() + wait;
        while Instant::now() < end {
            sleep_until(end.min(Instant::now() + WHILE_RUNNING)).await;
            if !self.held.is_empty() {
                return;
            }
        }
    }

    async fn beat(&self) -> Result<(), ClientError> {
        let heartbeat = Heartbeat { leases: self.held.leases() };
        let sent = Instant::now();
        let answer = self.master.heartbeat(&self.terms.name, &heartbeat).await;
        self.link.note(&answer);
        let reply = answer?;
        self.held.apply(&heartbeat.leases, &reply, sent);
        if reply.register {
            tracing::info!("the master asks this worker to register again");
            self.master.register(&self.terms.name, &self.terms.registration).await?;
        }
        Ok(())
    }
}
