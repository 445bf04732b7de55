//! Webhooks as they are kept, and the messages to them: the outbox and the log in one.

use jiff::Timestamp;
use orchestra_contracts::{DeliveryId, DeliveryState, JobId, JobStatus, WebhookId};

use crate::domain::{EndFilter, Job};

/// So many deliveries that have ended are kept of each webhook.
pub const DELIVERIES_KEPT: usize = 1000;

/// What is told, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookGrant {
    pub url: String,
    pub filter: EndFilter,
    /// Sealed.
    pub secret: String,
}

/// A webhook as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookRecord {
    pub id: WebhookId,
    pub grant: WebhookGrant,
    pub created_at: Timestamp,
}

/// One message to one webhook, without what it says.
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
    /// When it is tried next; `None` for those that are not pending.
    pub due_at: Option<Timestamp>,
}

/// A message whose time has come.
#[derive(Clone, Debug, PartialEq)]
pub struct DueDelivery {
    pub record: DeliveryRecord,
    pub url: String,
    /// Sealed.
    pub secret: String,
    /// The job at its end, without its output, its input and what is secret; `None` where that
    /// cannot be read.
    pub job: Option<Job>,
}

/// What became of one try of a delivery. It changes nothing once that is not pending any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    pub delivery: DeliveryId,
    pub at: Timestamp,
    pub answer: Option<u16>,
    pub error: Option<String>,
    pub state: DeliveryState,
    /// For those that stay pending.
    pub due_at: Option<Timestamp>,
}
