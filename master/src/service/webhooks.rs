//! Registers, lists and removes webhooks, and lists their deliveries.

use orchestra_contracts::{
    Delivery, DeliveryId, FieldError, NewWebhook, RegisteredWebhook, Secret, Webhook, WebhookId,
    check_labels,
};

use super::{Service, ServiceError, Vault};
use crate::{
    courier::SigningKey,
    domain::EndFilter,
    store::{DeliveryRecord, WebhookGrant, WebhookRecord},
};

/// The most webhooks: each may have several requests in flight, which take a descriptor each.
const MAX_WEBHOOKS: usize = 64;
/// How many deliveries of a webhook are shown.
const SHOWN: u32 = 200;

impl Service {
    /// Registers a webhook. The answer is the only place where the signing secret appears.
    pub async fn add_webhook(&self, wanted: NewWebhook) -> Result<RegisteredWebhook, ServiceError> {
        let (key, errors) = self.check_webhook(&wanted);
        let Some(key) = key.filter(|_| errors.is_empty()) else {
            return Err(ServiceError::Invalid(errors));
        };
        if self.store.webhooks().await?.len() >= MAX_WEBHOOKS {
            let detail = format!("is one too many: there are {MAX_WEBHOOKS}; remove one first");
            return Err(ServiceError::field("/url", detail));
        }
        let NewWebhook { url, on, queue, labels, .. } = wanted;
        let secret = key.secret();
        let sealed = self.vault.seal_text(&purpose(&url), &secret);
        let grant = WebhookGrant { url, filter: EndFilter { on, queue, labels }, secret: sealed };
        let record = self.store.add_webhook(grant, self.clock.now()).await?;
        tracing::info!(id = %record.id, "a webhook was added");
        Ok(RegisteredWebhook { secret, webhook: shown(record) })
    }

    /// All webhooks, oldest first.
    pub async fn webhooks(&self) -> Result<Vec<Webhook>, ServiceError> {
        Ok(self.store.webhooks().await?.into_iter().map(shown).collect())
    }

    pub async fn webhook(&self, id: WebhookId) -> Result<Webhook, ServiceError> {
        let all = self.webhooks().await?;
        all.into_iter().find(|webhook| webhook.id == id).ok_or(ServiceError::NoSuchWebhook(id))
    }

    /// Removes a webhook with its deliveries. A delivery in flight may still arrive.
    pub async fn remove_webhook(&self, id: WebhookId) -> Result<(), ServiceError> {
        if !self.store.remove_webhook(id).await? {
            return Err(ServiceError::NoSuchWebhook(id));
        }
        tracing::info!(%id, "a webhook was removed");
        Ok(())
    }

    /// The deliveries of a webhook, sent and pending, newest first, as far as they are kept.
    pub async fn deliveries(&self, id: WebhookId) -> Result<Vec<Delivery>, ServiceError> {
        let log = self.store.deliveries(id, SHOWN).await?;
        if log.is_empty() {
            self.webhook(id).await?;
        }
        Ok(log.into_iter().map(delivery).collect())
    }

    /// Sends a delivery again, whatever became of it, with a full number of tries.
    pub async fn redeliver(
        &self,
        webhook: WebhookId,
        id: DeliveryId,
    ) -> Result<Delivery, ServiceError> {
        let record = self.store.redeliver(webhook, id, self.clock.now()).await?;
        self.outbox.notify_one();
        record.map(delivery).ok_or(ServiceError::NoSuchDelivery(webhook, id))
    }

    /// Everything that is wrong with a new webhook, or its signing key.
    fn check_webhook(&self, wanted: &NewWebhook) -> (Option<SigningKey>, Vec<FieldError>) {
        let refusal =
            |pointer: &str, detail: String| FieldError { pointer: pointer.to_owned(), detail };
        let mut errors = check_labels(&wanted.labels, "/labels");
        if let Err(wrong) = self.courier.target(&wanted.url) {
            errors.push(refusal("/url", wrong.to_string()));
        }
        if wanted.on.is_empty() {
            errors.push(refusal("/on", "names no end; leave it out for all of them".to_owned()));
        }
        for (place, status) in wanted.on.iter().enumerate().filter(|(_, on)| !on.is_final()) {
            let detail = format!("{status} is no end: Completed, Failed and Cancelled are");
            errors.push(refusal(&format!("/on/{place}"), detail));
        }
        let key = match &wanted.secret {
            None => Ok(SigningKey::make()),
            Some(secret) => SigningKey::read(secret),
        };
        let key = key.map_err(|wrong| errors.push(refusal("/secret", wrong.to_string()))).ok();
        (key, errors)
    }
}

impl Vault {
    /// The signing key of a stored webhook.
    pub(super) fn signing_key(&self, url: &str, sealed: &str) -> Option<SigningKey> {
        let secret: Secret = self.open_text(&purpose(url), sealed)?;
        SigningKey::read(&secret).ok()
    }
}

/// The purpose for which the secret is sealed. It contains the URL: write access to the database
/// alone is not enough to redirect messages that are signed with it.
fn purpose(url: &str) -> String {
    format!("webhook {url}")
}

/// The id of a delivery, the same for each try; unique even if a database was restored and its
/// numbers are used again.
pub(super) fn message_id(record: &DeliveryRecord) -> String {
    format!("msg_{}_{}", record.id, record.created_at.as_millisecond())
}

fn shown(record: WebhookRecord) -> Webhook {
    let WebhookRecord { id, grant, created_at } = record;
    let EndFilter { on, queue, labels } = grant.filter;
    Webhook { id, url: grant.url, on, queue, labels, created_at }
}

fn delivery(record: DeliveryRecord) -> Delivery {
    Delivery {
        id: record.id,
        message: message_id(&record),
        job: record.job,
        on: record.status,
        state: record.state,
        attempts: record.attempts,
        answer: record.answer,
        error: record.error,
        created_at: record.created_at,
        tried_at: record.tried_at,
        next_try: record.due_at,
    }
}
