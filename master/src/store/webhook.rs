//! Webhooks, as they are stored, and their deliveries: the outbox and its log in one.

use jiff::Timestamp;
use orchestra_contracts::{DeliveryId, DeliveryState, JobId, JobStatus, WebhookId};

use crate::domain::{EndFilter, Job};

/// How many ended deliveries of each webhook are kept.
pub const DELIVERIES_KEPT: usize = 1000;

/// The ends that a webhook is told of, and its URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookGrant {
    pub url: String,
    pub filter: EndFilter,
    /// Sealed.
    pub secret: String,
}

/// A webhook, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookRecord {
    pub id: WebhookId,
    pub grant: WebhookGrant,
    pub created_at: Timestamp,
}

/// One delivery to one webhook, without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRecord {
    pub id: DeliveryId,
    pub webhook: WebhookId,
    pub job: JobId,
    pub status: JobStatus,
    pub created_at: Timestamp,
    pub state: DeliveryState,
    pub attempts: u32,
    pub answer: Option<u16>,
    pub error: Option<String>,
    pub tried_at: Option<Timestamp>,
    /// When it is tried next; `None` unless it is pending.
    pub due_at: Option<Timestamp>,
}

/// A delivery that is due.
#[derive(Clone, Debug, PartialEq)]
pub struct DueDelivery {
    pub record: DeliveryRecord,
    pub url: String,
    /// Sealed.
    pub secret: String,
    /// The job at its end, without output, input and secrets; `None` if it cannot be read.
    pub job: Option<Job>,
}

/// The result of one try of a delivery. It is ignored once the delivery is not pending any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    pub delivery: DeliveryId,
    pub at: Timestamp,
    pub answer: Option<u16>,
    pub error: Option<String>,
    pub state: DeliveryState,
    /// When to try again, for a delivery that stays pending.
    pub due_at: Option<Timestamp>,
}
