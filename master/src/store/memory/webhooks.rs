//! Webhooks and their deliveries.

use std::collections::BTreeMap;

use jiff::Timestamp;
use orchestra_contracts::{DeliveryId, DeliveryState, WebhookId};

use crate::{
    domain::Job,
    store::{
        DELIVERIES_KEPT, DeliveryRecord, DueDelivery, Tried, WebhookGrant, WebhookRecord,
        rows::JobAtEnd,
    },
};

/// Ids are never given twice.
#[derive(Debug, Default)]
pub(super) struct Webhooks {
    all: BTreeMap<WebhookId, WebhookRecord>,
    last_webhook: i64,
    deliveries: BTreeMap<DeliveryId, (DeliveryRecord, Job)>,
    last_delivery: i64,
}

impl Webhooks {
    pub(super) fn add(&mut self, grant: WebhookGrant, now: Timestamp) -> WebhookRecord {
        self.last_webhook += 1;
        let id = WebhookId(self.last_webhook);
        let record = WebhookRecord { id, grant, created_at: now };
        self.all.insert(id, record.clone());
        record
    }

    pub(super) fn remove(&mut self, id: WebhookId) -> bool {
        self.deliveries.retain(|_, (record, _)| record.webhook != id);
        self.all.remove(&id).is_some()
    }

    pub(super) fn all(&self) -> Vec<WebhookRecord> {
        self.all.values().cloned().collect()
    }

    /// Of a job that moved, whether it has ended or not.
    pub(super) fn note_end(&mut self, job: &Job) {
        let Some(finish) = job.finish().filter(|_| job.status().is_final()) else { return };
        for webhook in self.all.values().filter(|webhook| webhook.grant.filter.takes(job)) {
            self.last_delivery += 1;
            let id = DeliveryId(self.last_delivery);
            let record = DeliveryRecord {
                id,
                webhook: webhook.id,
                job: job.id,
                status: job.status(),
                created_at: finish.finished_at,
                state: DeliveryState::Pending,
                attempts: 0,
                answer: None,
                error: None,
                tried_at: None,
                due_at: Some(finish.finished_at),
            };
            self.deliveries.insert(id, (record, JobAtEnd::new(job, finish).job(job.id)));
        }
    }

    pub(super) fn due(&self, now: Timestamp, each: usize) -> Vec<DueDelivery> {
        let of = |webhook: &WebhookRecord| {
            let mut due: Vec<_> = self
                .deliveries
                .values()
                .filter(|(record, _)| record.webhook == webhook.id)
                .filter(|(record, _)| record.due_at.is_some_and(|due| due <= now))
                .map(|(record, job)| DueDelivery {
                    record: record.clone(),
                    url: webhook.grant.url.clone(),
                    secret: webhook.grant.secret.clone(),
                    job: Some(job.clone()),
                })
                .collect();
            due.sort_by_key(|due| (due.record.due_at, due.record.id));
            due.truncate(each);
            due
        };
        self.all.values().flat_map(of).collect()
    }

    pub(super) fn waiting(&self) -> u64 {
        let all = self.deliveries.values();
        all.filter(|(record, _)| record.due_at.is_some()).count() as u64
    }

    pub(super) fn note_try(&mut self, tried: Tried) {
        let Some((record, _)) = self.deliveries.get_mut(&tried.delivery) else { return };
        if record.state != DeliveryState::Pending {
            return;
        }
        record.attempts += 1;
        (record.answer, record.error) = (tried.answer, tried.error);
        (record.tried_at, record.state) = (Some(tried.at), tried.state);
        record.due_at = tried.due_at;
        let webhook = record.webhook;
        let is_ended =
            |record: &DeliveryRecord| record.webhook == webhook && record.due_at.is_none();
        let ended = self.deliveries.values().rev().filter(|(record, _)| is_ended(record));
        let dropped: Vec<_> = ended.skip(DELIVERIES_KEPT).map(|(record, _)| record.id).collect();
        self.deliveries.retain(|id, _| !dropped.contains(id));
    }

    pub(super) fn log(&self, webhook: WebhookId, limit: usize) -> Vec<DeliveryRecord> {
        let all = self.deliveries.values().rev().map(|(record, _)| record);
        all.filter(|record| record.webhook == webhook).take(limit).cloned().collect()
    }

    pub(super) fn redeliver(
        &mut self,
        webhook: WebhookId,
        delivery: DeliveryId,
        now: Timestamp,
    ) -> Option<DeliveryRecord> {
        let (record, _) = self.deliveries.get_mut(&delivery)?;
        if record.webhook != webhook {
            return None;
        }
        (record.state, record.due_at, record.attempts) = (DeliveryState::Pending, Some(now), 0);
        Some(record.clone())
    }
}
