//! Webhook calls, which only admins make.

use orchestra_contracts::{
    Delivery, DeliveryId, NewWebhook, RegisteredWebhook, Webhook, WebhookId, paths,
};
use reqwest::Method;

use crate::{Client, ClientError};

impl Client {
    /// Adds a webhook. Only this answer shows its secret.
    pub async fn add_webhook(&self, wanted: &NewWebhook) -> Result<RegisteredWebhook, ClientError> {
        self.fetch(self.call(Method::POST, paths::WEBHOOKS).json(wanted)).await
    }

    /// All webhooks, oldest first.
    pub async fn webhooks(&self) -> Result<Vec<Webhook>, ClientError> {
        self.fetch(self.call(Method::GET, paths::WEBHOOKS)).await
    }

    /// Removes a webhook and its log; nothing more is sent to it.
    pub async fn remove_webhook(&self, id: WebhookId) -> Result<(), ClientError> {
        self.send(self.call(Method::DELETE, &paths::webhook(id))).await.map(drop)
    }

    /// Past and pending deliveries of a webhook, newest first, as far as its log goes back.
    pub async fn deliveries(&self, id: WebhookId) -> Result<Vec<Delivery>, ClientError> {
        self.fetch(self.call(Method::GET, &paths::deliveries(id))).await
    }

    /// Sends a message again, whatever its state.
    pub async fn redeliver(
        &self,
        webhook: WebhookId,
        delivery: DeliveryId,
    ) -> Result<Delivery, ClientError> {
        self.fetch(self.call(Method::POST, &paths::redeliver(webhook, delivery))).await
    }
}
