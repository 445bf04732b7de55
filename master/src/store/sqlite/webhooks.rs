//! Webhooks: written by people, rarely; read whole.

use jiff::Timestamp;
use orchestra_contracts::{QueueName, WebhookId};
use sqlx::{SqliteConnection, SqliteExecutor};

use super::batch::Verb;
use crate::store::{
    StoreError, WebhookGrant, WebhookRecord,
    rows::{WebhookRow, to_json},
};

const ADD: &str = "
    INSERT INTO webhook (url, ends, queue, labels, secret, created_at)
    VALUES ($1, $2, $3, $4, $5, $6)
    RETURNING id, url, ends, queue, labels, secret, created_at";

/// The messages to it go with it.
const REMOVE: &str = "DELETE FROM webhook WHERE id = $1";

const ALL: &str =
    "SELECT id, url, ends, queue, labels, secret, created_at FROM webhook ORDER BY id";

/// Adds a webhook.
pub(super) struct AddWebhook {
    pub(super) grant: WebhookGrant,
    pub(super) now: Timestamp,
}

impl Verb for AddWebhook {
    type Answer = WebhookRecord;

    /// One after the other: people ask for them, one at a time.
    async fn run(
        connection: &mut SqliteConnection,
        calls: &[Self],
    ) -> Result<Vec<WebhookRecord>, StoreError> {
        let mut answers = Vec::with_capacity(calls.len());
        for Self { grant, now } in calls {
            let row: WebhookRow = sqlx::query_as(ADD)
                .bind(&grant.url)
                .bind(to_json(&grant.filter.on))
                .bind(grant.filter.queue.as_ref().map(QueueName::as_str))
                .bind(to_json(&grant.filter.labels))
                .bind(&grant.secret)
                .bind(now.as_millisecond())
                .fetch_one(&mut *connection)
                .await?;
            answers.push(row.try_into()?);
        }
        Ok(answers)
    }
}

/// Removes a webhook with its log; answers whether there was one.
pub(super) struct RemoveWebhook {
    pub(super) id: WebhookId,
}

impl Verb for RemoveWebhook {
    type Answer = bool;

    /// One after the other, as [`AddWebhook`].
    async fn run(
        connection: &mut SqliteConnection,
        calls: &[Self],
    ) -> Result<Vec<bool>, StoreError> {
        let mut answers = Vec::with_capacity(calls.len());
        for Self { id } in calls {
            let done = sqlx::query(REMOVE).bind(id.0).execute(&mut *connection).await?;
            answers.push(done.rows_affected() > 0);
        }
        Ok(answers)
    }
}

pub(super) async fn all(reads: impl SqliteExecutor<'_>) -> Result<Vec<WebhookRecord>, StoreError> {
    let rows: Vec<WebhookRow> = sqlx::query_as(ALL).fetch_all(reads).await?;
    rows.into_iter().map(WebhookRecord::try_from).collect()
}

/// Those that can be read: a damaged one must not keep jobs from ending.
pub(super) async fn readable(
    connection: &mut SqliteConnection,
) -> Result<Vec<WebhookRecord>, StoreError> {
    let rows: Vec<WebhookRow> = sqlx::query_as(ALL).fetch_all(connection).await?;
    let read = |row: WebhookRow| match WebhookRecord::try_from(row) {
        Ok(webhook) => Some(webhook),
        Err(error) => {
            tracing::error!(%error, "a webhook cannot be read, so nothing is told there");
            None
        }
    };
    Ok(rows.into_iter().filter_map(read).collect())
}
