//! Orders for a running attempt from outside: how long its lease lasts, and whether to stop. They
//! are a state, not a queue: only the newest counts. An order to stop can become stricter, but
//! never milder.

use tokio::{sync::watch, time::Instant};

/// Why an attempt is stopped from outside, in order of strictness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// The job was cancelled: SIGTERM, grace, SIGKILL, and a report.
    Cancel,
    /// The worker shuts down: kill it, and hand the job back.
    HandBack,
    /// The lease is lost: kill it, and report nothing.
    Lost,
}

/// The present orders for an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orders {
    /// The end of the lease. The container must be gone by then.
    pub until: Instant,
    pub stop: Option<Stop>,
}

/// Gives orders to one attempt. Clones address the same attempt.
#[derive(Clone, Debug)]
pub(crate) struct Control(watch::Sender<Orders>);

impl Control {
    pub(crate) fn new(until: Instant) -> Self {
        Self(watch::Sender::new(Orders { until, stop: None }))
    }

    /// A receiver of the orders. The present ones count as seen.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Orders> {
        self.0.subscribe()
    }

    pub(crate) fn renew(&self, until: Instant) {
        self.0.send_if_modified(|orders| {
            let later = until > orders.until;
            orders.until = orders.until.max(until);
            later
        });
    }

    pub(crate) fn stop(&self, stop: Stop) {
        self.0.send_if_modified(|orders| {
            let stricter = orders.stop < Some(stop);
            orders.stop = orders.stop.max(Some(stop));
            stricter
        });
    }

    pub(crate) fn stopping(&self) -> Option<Stop> {
        self.0.borrow().stop
    }

    /// Returns once an order at least this strict has been given.
    pub(crate) async fn stopped(&self, stop: Stop) {
        stopped(&mut self.subscribe(), stop).await;
    }

    /// Returns once the lease has run out without a renewal.
    pub(crate) async fn expired(&self) {
        let mut orders = self.subscribe();
        loop {
            let until = orders.borrow_and_update().until;
            tokio::select! {
                biased;
                changed = orders.changed() => changed.expect("self holds the sender"),
                () = tokio::time::sleep_until(until) => return,
            }
        }
    }
}

/// Returns once an order at least this strict has been given.
pub(crate) async fn stopped(orders: &mut watch::Receiver<Orders>, stop: Stop) {
    let given = orders.wait_for(|orders| orders.stop >= Some(stop)).await.is_ok();
    if !given {
        // The sender is gone, so no order will come.
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn orders_only_become_stricter() {
        let control = Control::new(Instant::now());
        control.stop(Stop::HandBack);
        control.stop(Stop::Cancel);
        assert_eq!(control.stopping(), Some(Stop::HandBack));
        control.stopped(Stop::Cancel).await;
        control.stop(Stop::Lost);
        assert_eq!(control.stopping(), Some(Stop::Lost));
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewed_lease_expires_later() {
        let start = Instant::now();
        let control = Control::new(start + Duration::from_secs(10));
        control.renew(start + Duration::from_secs(30));
        control.renew(start + Duration::from_secs(20));
        control.expired().await;
        assert_eq!(start.elapsed().as_secs(), 30);
    }
}
