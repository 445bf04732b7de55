//! Reacts to notifications of other masters on the same database: wakes the readers, workers and
//! claims here that wait for such a change.

use std::sync::Arc;

use super::{Service, ServiceError};
use crate::store::Notification;

/// Handles notifications until the service's shutdown token ends it.
pub async fn run(service: Arc<Service>) {
    loop {
        let notification = tokio::select! {
            biased;
            () = service.shutdown.cancelled() => return,
            notification = service.store.notification() => notification,
        };
        service.heed(&notification);
        if (notification.tokens || notification.everything)
            && let Err(error) = service.reload_tokens().await
        {
            tracing::warn!(%error, "tokens of other masters are not known yet");
        }
    }
}

impl Service {
    fn heed(&self, notification: &Notification) {
        if notification.everything {
            self.hub.wake_all();
            self.order_signals.signal_all();
        }
        for id in &notification.jobs {
            self.hub.wake(*id);
        }
        for worker in &notification.workers {
            self.order_signals.signal(worker);
        }
        if notification.claimable || notification.everything {
            self.dispatcher.look_again();
        }
        if notification.ended || notification.everything {
            self.outbox.notify_one();
        }
    }

    /// Whether this master is the leader. A new leader gives leases time for renewal, as after a
    /// start: it does not know whether workers could renew before.
    pub async fn leads(&self, led: bool) -> Result<bool, ServiceError> {
        let leads = self.store.leads().await?;
        if leads && !led {
            self.renewals_fail();
        }
        Ok(leads)
    }

    /// Refreshes what several masters share: the database's clock, and the tokens that other
    /// masters have issued or revoked. Returns whether there are several masters.
    pub async fn keep_up(&self) -> Result<bool, ServiceError> {
        let asked = self.clock.passed();
        let Some(time) = self.store.time().await? else { return Ok(false) };
        let way = self.clock.passed().saturating_sub(asked) / 2;
        self.clock.adjust(time.saturating_add(way).unwrap_or(time));
        self.reload_tokens().await?;
        Ok(true)
    }
}
