//! Delivers to webhooks: sends the deliveries that the store has queued, until the receivers have
//! accepted them.
//!
//! Of several masters on one database, the leader does it.
//!
//! Each webhook has its own queue, so one that never answers delays no other. Deliveries in flight
//! are known only in memory: after a crash they are due as before and sent again, under the same
//! id. So receivers get each end at least once.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use orchestra_contracts::{DeliveryId, DeliveryState, JobStatus, WebhookId};
use serde::Serialize;
use serde_json::Value;
use tokio::{
    task::{self, JoinSet},
    time::Instant,
};

use super::{Service, signed, view, webhooks::message_id};
use crate::{
    courier::Message,
    domain::{Answer, Job, Next},
    store::{DueDelivery, StoreError, Tried},
};

/// The poll interval: retries become due by the clock, and a wake-up may be lost.
const POLL: Duration = Duration::from_secs(1);
/// The pause between two queries for new deliveries: thousands of jobs may end in a second.
const GAP: Duration = Duration::from_millis(20);
/// The most deliveries in flight to one webhook.
const LANE: usize = 4;
/// With so many deliveries in flight in total, a webhook has at most one: each takes a descriptor.
const SHARED: usize = 32;

/// The deliveries in flight.
#[derive(Default)]
struct UnderWay {
    tries: JoinSet<()>,
    of: HashMap<task::Id, (WebhookId, DeliveryId)>,
}

/// Sends deliveries until the service's shutdown token ends it. The next master sends those in
/// flight again.
pub async fn run(service: Arc<Service>) {
    let mut under_way = UnderWay::default();
    loop {
        let looked = Instant::now();
        if let Err(error) = start_due(&service, &mut under_way).await {
            tracing::warn!(%error, "webhooks wait for the database");
        }
        tokio::select! {
            biased;
            () = service.shutdown.cancelled() => return,
            () = under_way.one_ended() => {}
            () = service.outbox.notified() => tokio::time::sleep_until(looked + GAP).await,
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

/// Starts a try of each due delivery, within the limits.
async fn start_due(service: &Arc<Service>, under_way: &mut UnderWay) -> Result<(), StoreError> {
    if !service.store.leads().await? {
        return Ok(());
    }
    let now = service.clock.now();
    for due in service.store.due_deliveries(now, LANE as u32).await? {
        if under_way.has_room_for(&due) {
            let names = (due.record.webhook, due.record.id);
            let started = under_way.tries.spawn(service.clone().deliver(due));
            under_way.of.insert(started.id(), names);
        }
    }
    Ok(())
}

impl UnderWay {
    fn has_room_for(&self, due: &DueDelivery) -> bool {
        let of_webhook = self.of.values().filter(|(webhook, _)| *webhook == due.record.webhook);
        let (mut count, mut is_new) = (0, true);
        for (_, delivery) in of_webhook {
            count += 1;
            is_new &= *delivery != due.record.id;
        }
        let shares = count < LANE && self.of.len() < SHARED;
        is_new && (count == 0 || shares)
    }

    /// Waits until at least one try has ended; for ever if there is none.
    async fn one_ended(&mut self) {
        let Some(ended) = self.tries.join_next_with_id().await else {
            return std::future::pending().await;
        };
        let mut next = Some(ended);
        while let Some(ended) = next {
            let id = match ended {
                Ok((id, ())) => id,
                Err(crash) => {
                    tracing::error!(%crash, "a try of a webhook crashed");
                    crash.id()
                }
            };
            self.of.remove(&id);
            next = self.tries.try_join_next_with_id();
        }
    }
}

impl Service {
    /// One try, whose result is stored.
    async fn deliver(self: Arc<Self>, due: DueDelivery) {
        let answer = self.tried(&due).await;
        let now = self.clock.now();
        let tries = due.record.attempts + 1;
        let (state, due_at) = match answer.next(tries, rand::random()) {
            Next::Done => (DeliveryState::Delivered, None),
            Next::Wait(wait) => (DeliveryState::Pending, Some(now + signed(wait))),
            Next::GiveUp => (DeliveryState::GivenUp, None),
        };
        let (webhook, job, delivery) = (due.record.webhook, due.record.job, due.record.id);
        let error = answer.error();
        if state == DeliveryState::GivenUp {
            tracing::warn!(%webhook, %delivery, %job, tries, error, "a webhook was not told of an end: given up");
        } else {
            tracing::debug!(%webhook, %delivery, %job, tries, error, %state, "a webhook was tried");
        }
        self.metrics.told(state);
        let tried = Tried { delivery, at: now, answer: answer.status(), error, state, due_at };
        // Until it is noted it is under way, or it would be sent again at once.
        while let Err(error) = self.store.note_try(tried.clone()).await {
            tracing::warn!(%error, %delivery, "what became of a webhook's message cannot be noted yet");
            tokio::time::sleep(POLL).await;
        }
    }

    async fn tried(&self, due: &DueDelivery) -> Answer {
        let never = |reason: &str| Answer::Never(reason.to_owned());
        let Some(job) = &due.job else {
            return never("its record in the database is damaged");
        };
        let Some(key) = self.vault.signing_key(&due.url, &due.secret) else {
            return never(
                "its secret cannot be opened: this master's secret key is another than the one it \
                 was sealed with, or the webhook was changed in the database; add it again",
            );
        };
        // What was allowed when it was registered may not be any more.
        let target = match self.courier.target(&due.url) {
            Ok(target) => target,
            Err(wrong) => return Answer::None(format!("its URL {wrong}")),
        };
        let message = Message {
            id: message_id(&due.record),
            timestamp: self.clock.now().as_second(),
            body: body(due.record.status, due.record.created_at, job),
        };
        self.courier.send(&target, &key, message).await
    }
}

#[derive(Serialize)]
struct Body {
    r#type: &'static str,
    timestamp: Timestamp,
    data: Value,
}

/// The same with each try.
fn body(status: JobStatus, timestamp: Timestamp, job: &Job) -> String {
    let r#type = match status {
        JobStatus::Completed => "job.completed",
        JobStatus::Cancelled => "job.cancelled",
        _ => "job.failed",
    };
    let ours = "our own types have string keys and finite numbers";
    let mut data = serde_json::to_value(view::job(job)).expect(ours);
    if let Some(fields) = data.as_object_mut() {
        // They are in the log, and may be anything.
        for name in ["output", "error", "outputTruncated"] {
            fields.remove(name);
        }
    }
    serde_json::to_string(&Body { r#type, timestamp, data }).expect(ours)
}

#[cfg(test)]
mod tests {
    use orchestra_contracts::JobId;

    use super::*;
    use crate::store::DeliveryRecord;

    fn due(webhook: i64, delivery: i64) -> DueDelivery {
        let record = DeliveryRecord {
            id: DeliveryId(delivery),
            webhook: WebhookId(webhook),
            job: JobId(1),
            status: JobStatus::Failed,
            created_at: Timestamp::UNIX_EPOCH,
            state: DeliveryState::Pending,
            attempts: 0,
            answer: None,
            error: None,
            tried_at: None,
            due_at: Some(Timestamp::UNIX_EPOCH),
        };
        DueDelivery { record, url: String::new(), secret: String::new(), job: None }
    }

    #[tokio::test]
    async fn every_webhook_has_a_lane_and_all_of_them_have_a_bound() {
        let mut under_way = UnderWay::default();
        let mut start = |webhook: i64, delivery: i64| {
            let has_room = under_way.has_room_for(&due(webhook, delivery));
            if has_room {
                let started = under_way.tries.spawn(std::future::pending());
                under_way.of.insert(started.id(), (WebhookId(webhook), DeliveryId(delivery)));
            }
            has_room
        };
        assert!(start(1, 1));
        assert!(!start(1, 1), "it is under way");
        assert_eq!([2, 3, 4, 5].map(|delivery| start(1, delivery)), [true, true, true, false]);
        for webhook in 2..=64 {
            assert!(start(webhook, 100 * webhook), "each has its own lane");
            for more in 1..4 {
                start(webhook, 100 * webhook + more);
            }
        }
        assert!(under_way.of.len() < 100, "{}", under_way.of.len());
    }
}
