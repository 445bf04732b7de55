//! Heartbeats: one call that renews all leases of the worker and returns which are lost and which
//! jobs are to be cancelled. It is sent every quarter of a lease; a long poll beside it says when
//! to send it at once.

use std::time::Duration;

use orchestra_client::{Backoff, ClientError};
use orchestra_contracts::worker::{Heartbeat, Stats};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use super::{LONGEST_WAIT, Worker};

/// The first pause before a failed heartbeat is repeated.
const AGAIN: Duration = Duration::from_millis(200);

/// The backoff after an outage. Its pauses are short enough that no lease expires during one.
fn after_outage(every: Duration) -> Backoff {
    Backoff::new(every.min(AGAIN), every / 4)
}

impl Worker {
    /// Sends heartbeats until it is dropped.
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

    /// Waits for a changed count of orders: there are new orders, or the master is another process.
    /// The next heartbeat brings the orders.
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
