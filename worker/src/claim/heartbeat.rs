//! One call that renews all leases of the worker and brings back which of them
//! are lost and which jobs are to be cancelled. It goes out at every quarter of a
//! lease; a long poll beside it says when it should go out at once.

use std::time::Duration;

use orchestra_client::{Backoff, ClientError};
use orchestra_contracts::worker::{Heartbeat, Stats};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use super::{LONGEST_WAIT, Worker};

/// How soon a heartbeat that failed is repeated, at first.
const AGAIN: Duration = Duration::from_millis(200);

/// Leases must not end while a long pause goes by after a short outage.
fn after_outage(every: Duration) -> Backoff {
    Backoff::new(every.min(AGAIN), every / 4)
}

impl Worker {
    /// Goes on until it is dropped.
    pub(super) async fn heartbeats(&self) {
        let orders = Notify::new();
        let beats = self.beat_often(&orders);
        let listening = self.listen(&orders);
        tokio::join!(beats, listening, self.keep_told(), self.compare_clocks());
    }

    async fn beat_often(&self, orders: &Notify) {
        let mut pace = self.pace.subscribe();
        let mut every = *pace.borrow_and_update();
        let mut backoff = after_outage(every);
        let mut wait = every;
        let mut health = self.executor.health();
        loop {
            tokio::select! {
                biased;
                () = orders.notified() => (),
                // People should see at once where it ails.
                Ok(()) = health.changed() => (),
                Ok(()) = pace.changed() => {
                    every = *pace.borrow_and_update();
                    (backoff, wait) = (after_outage(every), every);
                    continue;
                }
                () = sleep(wait) => (),
            }
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

    /// A count that has changed says that there are orders, or that the master
    /// is another process. Which orders, the next heartbeat tells.
    async fn listen(&self, orders: &Notify) {
        let every = *self.pace.borrow();
        let mut backoff = Backoff::new(every.min(AGAIN), every);
        let mut known = None;
        loop {
            let every = *self.pace.borrow();
            let answer = self.master.orders(&self.terms.name, known, every.min(LONGEST_WAIT)).await;
            self.link.note(&answer);
            match answer {
                Ok(count) => {
                    backoff.reset();
                    if known.replace(count) != Some(count) {
                        orders.notify_one();
                    }
                }
                Err(error) => {
                    tracing::debug!("could not listen for orders: {error}");
                    sleep(backoff.next()).await;
                }
            }
        }
    }

    async fn beat(&self) -> Result<(), ClientError> {
        let trouble = self.executor.health().borrow().clone();
        let unwell = trouble.map(|trouble| trouble.reason);
        let stats = Some(self.stats()).filter(|it| *it != Stats::default()).map(Box::new);
        let heartbeat = Heartbeat { leases: self.leases.all(), unwell, stats };
        let sent = Instant::now();
        let answer = self.master.heartbeat(&self.terms.name, &heartbeat).await;
        self.link.note(&answer);
        let reply = answer?;
        self.leases.apply(&heartbeat.leases, &reply, sent);
        let quarter = reply.lease.0 / 4;
        self.pace.send_if_modified(|pace| {
            !quarter.is_zero() && std::mem::replace(pace, quarter) != quarter
        });
        if reply.register {
            tracing::info!("the master asks this worker to register again");
            self.tell().await?;
        }
        Ok(())
    }
}
