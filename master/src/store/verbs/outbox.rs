//! The outbox of webhooks. Deliveries are written in the transaction in which a job ends, so that
//! exactly the ends that happened are delivered.

use std::collections::BTreeSet;

use jiff::Timestamp;
use orchestra_contracts::{DeliveryId, WebhookId};

use super::{Verb, ledger::write_all, webhooks};
use crate::{
    domain::Job,
    store::{
        DELIVERIES_KEPT, DeliveryRecord, DueDelivery, StoreError, Tried,
        connection::{Connection, Reads, values},
        rows::{DeliveryRow, DeliveryWrite, DueRow},
        statement::{Statement, statement},
    },
};

macro_rules! columns {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            " d.id, d.webhook, d.job_id, d.status, d.created_at, d.state, d.attempts, d.answer,
              d.error, d.tried_at, d.due_at ",
            $after
        )
    };
}

pub(in crate::store) const ADD: Statement = statement!(
    (webhook bigint, job_id bigint, status text, job text, created_at bigint)
    "INSERT INTO delivery (webhook, job_id, status, job, created_at, due_at)
    SELECT r.webhook, r.job_id, r.status, r.job,
           r.created_at, r.created_at
    FROM " rows "");

/// The first $2 of each webhook that are due at $1, so that one webhook's are not behind another's.
pub(in crate::store) const DUE: Statement = Statement::plain(columns!(
    "SELECT",
    ", d.job, w.url, w.secret
     FROM webhook AS w JOIN delivery AS d ON d.id IN (
         SELECT due.id FROM delivery AS due
         WHERE due.webhook = w.id AND due.due_at <= $1 ORDER BY due.due_at, due.id LIMIT $2)
     ORDER BY d.webhook, d.due_at, d.id"
));

pub(in crate::store) const WAITING: Statement = Statement::plain(
    "SELECT count(*) FROM (
         SELECT due.id FROM delivery AS due WHERE due.due_at IS NOT NULL LIMIT $1) AS waiting",
);

pub(in crate::store) const LOG: Statement = Statement::plain(columns!(
    "SELECT",
    "FROM delivery AS d WHERE d.webhook = $1 ORDER BY d.id DESC LIMIT $2"
));

/// Nothing where it was removed meanwhile, or where somebody had it begin again.
const TRIED: Statement = Statement::plain(
    "
    UPDATE delivery SET
        attempts = attempts + 1, answer = $2, error = $3, tried_at = $4, state = $5, due_at = $6
    WHERE id = $1 AND state = 'Pending' RETURNING webhook",
);

pub(in crate::store) const DROP: Statement = Statement::plain(
    "
    DELETE FROM delivery WHERE webhook = $1 AND due_at IS NULL AND id <= (
        SELECT id FROM delivery WHERE webhook = $1 AND due_at IS NULL
        ORDER BY id DESC LIMIT 1 OFFSET $2)",
);

const AGAIN: Statement = Statement::plain(
    "
    UPDATE delivery SET state = 'Pending', due_at = $3, attempts = 0
    WHERE webhook = $1 AND id = $2
    RETURNING id, webhook, job_id, status, created_at, state, attempts, answer, error, tried_at,
              due_at",
);

/// Adds deliveries for the ends among these jobs. Without webhooks that costs one read of an empty
/// table for all jobs.
///
/// A job that ended and was deleted or retried in the same transaction has no visible end, and adds
/// no delivery.
pub(in crate::store) async fn note_ends(
    connection: &mut Connection,
    jobs: impl Iterator<Item = &Job>,
) -> Result<(), StoreError> {
    let ended: Vec<&Job> = jobs.filter(|job| job.status().is_final()).collect();
    if ended.is_empty() {
        return Ok(());
    }
    let webhooks = webhooks::readable(connection).await?;
    let mut messages = Vec::new();
    for job in ended {
        let Some(finish) = job.finish() else { continue };
        let told = webhooks.iter().filter(|webhook| webhook.grant.filter.takes(job));
        messages.extend(told.map(|webhook| DeliveryWrite::new(webhook.id, job, finish)));
    }
    write_all(connection, ADD, &messages).await
}

pub(in crate::store) async fn due(
    reads: &Reads,
    now: Timestamp,
    each: u32,
) -> Result<Vec<DueDelivery>, StoreError> {
    let rows: Vec<DueRow> = reads.all(DUE, values![now.as_millisecond(), i64::from(each)]).await?;
    rows.into_iter().map(DueDelivery::try_from).collect()
}

pub(in crate::store) async fn waiting(reads: &Reads, most: u32) -> Result<u64, StoreError> {
    let counted: Option<i64> = reads.scalar(WAITING, values![i64::from(most)]).await?;
    Ok(u64::try_from(counted.unwrap_or_default()).unwrap_or_default())
}

pub(in crate::store) async fn log(
    reads: &Reads,
    webhook: WebhookId,
    limit: u32,
) -> Result<Vec<DeliveryRecord>, StoreError> {
    let rows: Vec<DeliveryRow> = reads.all(LOG, values![webhook.0, i64::from(limit)]).await?;
    rows.into_iter().map(DeliveryRecord::try_from).collect()
}

/// Stores the result of a try, and prunes the log of deliveries.
impl Verb for Tried {
    type Answer = ();

    async fn run(connection: &mut Connection, calls: &[Self]) -> Result<Vec<()>, StoreError> {
        let mut changed = BTreeSet::new();
        for tried in calls {
            let webhook: Option<i64> = connection
                .scalar(
                    TRIED,
                    values![
                        tried.delivery.0,
                        tried.answer.map(i64::from),
                        tried.error.as_deref(),
                        tried.at.as_millisecond(),
                        tried.state.as_str(),
                        tried.due_at.map(Timestamp::as_millisecond)
                    ],
                )
                .await?;
            changed.extend(webhook.filter(|_| tried.due_at.is_none()));
        }
        for webhook in changed {
            let kept = i64::try_from(DELIVERIES_KEPT).unwrap_or(i64::MAX);
            connection.change(DROP, values![webhook, kept]).await?;
        }
        Ok(vec![(); calls.len()])
    }
}

/// Makes a delivery due again; returns it if it exists.
pub(in crate::store) struct Redeliver {
    pub(in crate::store) webhook: WebhookId,
    pub(in crate::store) delivery: DeliveryId,
    pub(in crate::store) now: Timestamp,
}

impl Verb for Redeliver {
    type Answer = Option<DeliveryRecord>;

    /// Calls run one after the other: they are rare.
    async fn run(
        connection: &mut Connection,
        calls: &[Self],
    ) -> Result<Vec<Option<DeliveryRecord>>, StoreError> {
        let mut answers = Vec::with_capacity(calls.len());
        for Self { webhook, delivery, now } in calls {
            let row: Option<DeliveryRow> =
                connection.one(AGAIN, values![webhook.0, delivery.0, now.as_millisecond()]).await?;
            answers.push(row.map(DeliveryRecord::try_from).transpose()?);
        }
        Ok(answers)
    }
}
