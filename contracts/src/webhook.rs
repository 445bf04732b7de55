//! Webhooks: where the master tells that jobs have ended, and the log of what it sent there.
//!
//! ```text
//! POST   /api/webhook                                   NewWebhook -> RegisteredWebhook
//! GET    /api/webhook, /api/webhook/{id}                           -> Webhook
//! DELETE /api/webhook/{id}
//! GET    /api/webhook/{id}/deliveries                              -> [Delivery], newest first
//! POST   /api/webhook/{id}/deliveries/{delivery}/retry             -> Delivery
//! ```

use std::{collections::BTreeMap, fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{JobId, JobStatus, QueueName, Secret};

macro_rules! number {
    ($name:ident, $refusal:literal) => {
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = &'static str;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text.parse() {
                    Ok(id) if id > 0 => Ok(Self(id)),
                    _ => Err($refusal),
                }
            }
        }
    };
}

number!(WebhookId, "a webhook's id is a positive whole number; `orchestra webhooks ls` shows it");
number!(
    DeliveryId,
    "a delivery's id is a positive whole number; `orchestra webhooks deliveries` shows it"
);

/// Asks that the ends of jobs be told to an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewWebhook {
    /// `http` or `https`; where it leads is looked at again with each delivery.
    pub url: String,
    /// Which ends; all three where it is absent.
    #[serde(default = "every_end")]
    pub on: Vec<JobStatus>,
    /// Jobs of this queue alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueName>,
    /// Jobs that have all of these labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// `whsec_` and 24 to 64 bytes in base64; made by the master where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
}

/// What a job can end as.
pub fn every_end() -> Vec<JobStatus> {
    vec![JobStatus::Completed, JobStatus::Failed, JobStatus::Cancelled]
}

/// A webhook, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    pub id: WebhookId,
    pub url: String,
    pub on: Vec<JobStatus>,
    pub queue: Option<QueueName>,
    pub labels: BTreeMap<String, String>,
    pub created_at: Timestamp,
}

/// A webhook that was just made, with what its messages are signed with. Nobody will see that again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisteredWebhook {
    pub secret: Secret,
    #[serde(flatten)]
    pub webhook: Webhook,
}

/// One message to one webhook: that a job has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    pub id: DeliveryId,
    /// The `webhook-id` of the message, the same with each try.
    pub message: String,
    pub job: JobId,
    /// As what the job ended.
    pub on: JobStatus,
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempts: u32,
    /// The status code of the last answer, where there was one.
    pub answer: Option<u16>,
    /// Why the last try did not succeed.
    pub error: Option<String>,
    pub created_at: Timestamp,
    pub tried_at: Option<Timestamp>,
    /// When it is tried next, while it is pending.
    pub next_try: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DeliveryState {
    /// Yet to be tried, or tried again.
    Pending,
    /// The receiver answered with 2xx.
    Delivered,
    /// The receiver said 410, or there were too many tries. Nothing more happens by itself.
    GivenUp,
}

impl DeliveryState {
    pub const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::GivenUp];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Delivered => "Delivered",
            Self::GivenUp => "GivenUp",
        }
    }
}

impl fmt::Display for DeliveryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DeliveryState {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|state| state.as_str() == text);
        known.ok_or("a delivery is Pending, Delivered or GivenUp")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_address_has_to_be_said() {
        let wanted: NewWebhook = serde_json::from_str(r#"{"url": "https://a.example"}"#).unwrap();
        assert_eq!(wanted.on, every_end());
        assert_eq!((wanted.queue, wanted.secret), (None, None));
        assert!(serde_json::from_str::<NewWebhook>(r#"{"url": "x", "uri": "y"}"#).is_err());
    }

    #[test]
    fn states_are_read_as_they_are_written() {
        for state in DeliveryState::ALL {
            assert_eq!(state.to_string().parse(), Ok(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        assert!("Lost".parse::<DeliveryState>().is_err());
    }
}
