//! The calls with which admins have ends of jobs be told elsewhere.

use orchestra_contracts::{
    Delivery, DeliveryId, NewWebhook, RegisteredWebhook, Webhook, WebhookId, paths,
};
use reqwest::Method;

use crate::{Client, ClientError};

impl Client {
    /// Adds a webhook; the answer is the only one that shows its secret.
    pub async fn add_webhook(&self, wanted: &NewWebhook) -> Result<RegisteredWebhook, ClientError> {
        self.fetch(self.call(Method::POST, paths::WEBHOOKS).json(wanted)).await
    }

    /// All webhooks, oldest first.
    pub async fn webhooks(&self) -> Result<Vec<Webhook>, ClientError> {
        self.fetch(self.call(Method::GET, paths::WEBHOOKS)).await
    }

    /// Removes a webhook with its log; nothing more is told there.
    pub async fn remove_webhook(&self, id: WebhookId) -> Result<(), ClientError> {
        self.send(self.call(Method::DELETE, &paths::webhook(id))).await.map(drop)
    }

    /// What was sent to a webhook and is to be sent, newest first, as far as its log goes.
    pub async fn deliveries(&self, id: WebhookId) -> Result<Vec<Delivery>, ClientError> {
        self.fetch(self.call(Method::GET, &paths::deliveries(id))).await
    }

    /// Has a message be sent again, whatever became of it.
    pub async fn redeliver(
        &self,
        webhook: WebhookId,
        delivery: DeliveryId,
    ) -> Result<Delivery, ClientError> {
        self.fetch(self.call(Method::POST, &paths::redeliver(webhook, delivery))).await
    }
}
