//! Webhooks: written by people, rarely; read whole.

use jiff::Timestamp;
use orchestra_contracts::{QueueName, WebhookId};

use super::{Needs, Verb};
use crate::store::{
    StoreError, WebhookGrant, WebhookRecord,
    connection::{Connection, Reads, values},
    rows::{WebhookRow, to_json},
    statement::Statement,
};

const ADD: Statement = Statement::plain(
    "
    INSERT INTO webhook (url, ends, queue, labels, secret, created_at)
    VALUES ($1, $2, $3, $4, $5, $6)
    RETURNING id, url, ends, queue, labels, secret, created_at",
);

/// The messages to it go with it.
const REMOVE: Statement = Statement::plain("DELETE FROM webhook WHERE id = $1");

const ALL: Statement = Statement::plain(
    "SELECT id, url, ends, queue, labels, secret, created_at FROM webhook ORDER BY id",
);

/// Adds a webhook.
pub(in crate::store) struct AddWebhook {
    pub(in crate::store) grant: WebhookGrant,
    pub(in crate::store) now: Timestamp,
}

impl Verb for AddWebhook {
    type Answer = WebhookRecord;

    fn needs(&self, needs: &mut Needs) {
        needs.alone = true;
    }

    /// One after the other: people ask for them, one at a time.
    async fn run(
        connection: &mut Connection,
        calls: &[Self],
    ) -> Result<Vec<WebhookRecord>, StoreError> {
        let mut answers = Vec::with_capacity(calls.len());
        for Self { grant, now } in calls {
            let row: Option<WebhookRow> = connection
                .one(
                    ADD,
                    values![
                        &grant.url,
                        to_json(&grant.filter.on),
                        grant.filter.queue.as_ref().map(QueueName::as_str),
                        to_json(&grant.filter.labels),
                        &grant.secret,
                        now.as_millisecond()
                    ],
                )
                .await?;
            answers.push(row.ok_or(sqlx::Error::RowNotFound)?.try_into()?);
        }
        Ok(answers)
    }
}

/// Removes a webhook with its deliveries; returns whether there was one.
pub(in crate::store) struct RemoveWebhook {
    pub(in crate::store) id: WebhookId,
}

impl Verb for RemoveWebhook {
    type Answer = bool;

    fn needs(&self, needs: &mut Needs) {
        needs.alone = true;
    }

    /// One after the other, as [`AddWebhook`].
    async fn run(connection: &mut Connection, calls: &[Self]) -> Result<Vec<bool>, StoreError> {
        let mut answers = Vec::with_capacity(calls.len());
        for Self { id } in calls {
            let done = connection.change(REMOVE, values![id.0]).await?;
            answers.push(done > 0);
        }
        Ok(answers)
    }
}

pub(in crate::store) async fn all(reads: &Reads) -> Result<Vec<WebhookRecord>, StoreError> {
    let rows: Vec<WebhookRow> = reads.all(ALL, values![]).await?;
    rows.into_iter().map(WebhookRecord::try_from).collect()
}

/// The readable webhooks: a damaged row must not keep jobs from ending.
pub(in crate::store) async fn readable(
    connection: &mut Connection,
) -> Result<Vec<WebhookRecord>, StoreError> {
    let rows: Vec<WebhookRow> = connection.all(ALL, values![]).await?;
    let read = |row: WebhookRow| match WebhookRecord::try_from(row) {
        Ok(webhook) => Some(webhook),
        Err(error) => {
            tracing::error!(%error, "a webhook cannot be read, so nothing is told there");
            None
        }
    };
    Ok(rows.into_iter().filter_map(read).collect())
}
