//! Queues, as operators see and change them.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use crate::QueueName;

/// A queue as `GET /api/queue` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    pub name: QueueName,
    /// No jobs are handed out from it; running jobs continue.
    pub paused: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_since: Option<Timestamp>,
    /// The most jobs of this queue that workers may hold at once; `null` means no limit.
    pub concurrency: Option<u32>,
    /// Jobs that are Pending.
    pub pending: u64,
    /// Jobs that workers hold: Assigned or Running.
    pub running: u64,
    /// Workers that serve it and were seen within the last lease.
    pub workers: u64,
}

/// The body of `PATCH /api/queue/{name}`. Absent fields stay unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QueueChange {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// `null` removes the limit.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "said")]
    pub concurrency: Option<Option<u32>>,
}

/// Distinguishes `null` from an absent field.
fn said<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_a_wish_and_silence_is_none() {
        let read = |json: &str| serde_json::from_str::<QueueChange>(json).map_err(|_| ());
        let change = |paused, concurrency| Ok(QueueChange { paused, concurrency });
        assert_eq!(read("{}"), change(None, None));
        assert_eq!(read(r#"{"concurrency": null}"#), change(None, Some(None)));
        assert_eq!(
            read(r#"{"concurrency": 3, "paused": true}"#),
            change(Some(true), Some(Some(3)))
        );
        assert_eq!(read(r#"{"limit": 3}"#), Err(()));
        for json in ["{}", r#"{"concurrency":null}"#, r#"{"paused":false,"concurrency":3}"#] {
            assert_eq!(serde_json::to_string(&read(json).unwrap()).unwrap(), json);
        }
    }
}
