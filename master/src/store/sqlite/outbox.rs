//! The messages to webhooks: written in the transaction in which a job ends, so that no end is
//! told that did not happen, and none that happened is forgotten.

use std::collections::BTreeSet;

use jiff::Timestamp;
use orchestra_contracts::{DeliveryId, WebhookId};
use sqlx::{SqliteConnection, SqlitePool};

use super::{batch::Verb, ledger::write_all, webhooks};
use crate::{
    domain::Job,
    store::{
        DELIVERIES_KEPT, DeliveryRecord, DueDelivery, StoreError, Tried,
        rows::{DeliveryRow, DeliveryWrite, DueRow},
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

pub(super) const ADD: &str = "
    INSERT INTO delivery (webhook, job_id, status, job, created_at, due_at)
    SELECT r.value->>'webhook', r.value->>'job_id', r.value->>'status', r.value->>'job',
           r.value->>'created_at', r.value->>'created_at'
    FROM jsonb_each($1) AS r";

/// The first $2 of each webhook that are due at $1, so that one webhook's are not behind another's.
pub(super) const DUE: &str = columns!(
    "SELECT",
    ", d.job, w.url, w.secret
     FROM webhook AS w JOIN delivery AS d ON d.id IN (
         SELECT due.id FROM delivery AS due
         WHERE due.webhook = w.id AND due.due_at <= $1 ORDER BY due.due_at, due.id LIMIT $2)
     ORDER BY d.webhook, d.due_at, d.id"
);

pub(super) const LOG: &str =
    columns!("SELECT", "FROM delivery AS d WHERE d.webhook = $1 ORDER BY d.id DESC LIMIT $2");

/// Nothing where it was removed meanwhile, or where somebody had it begin again.
const TRIED: &str = "
    UPDATE delivery SET
        attempts = attempts + 1, answer = $2, error = $3, tried_at = $4, state = $5, due_at = $6
    WHERE id = $1 AND state = 'Pending' RETURNING webhook";

pub(super) const DROP: &str = "
    DELETE FROM delivery WHERE webhook = $1 AND due_at IS NULL AND id <= (
        SELECT id FROM delivery WHERE webhook = $1 AND due_at IS NULL
        ORDER BY id DESC LIMIT 1 OFFSET $2)";

const AGAIN: &str = "
    UPDATE delivery SET state = 'Pending', due_at = $3, attempts = 0
    WHERE webhook = $1 AND id = $2
    RETURNING id, webhook, job_id, status, created_at, state, attempts, answer, error, tried_at,
              due_at";

/// Notes the ends among these jobs for those who want to be told. Where there are no webhooks,
/// that is one look at an empty table for all of them.
///
/// A job that ended and was deleted or begun again in one transaction did not end for anybody
/// who could have looked, and is not told.
pub(super) async fn note_ends(
    connection: &mut SqliteConnection,
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

pub(super) async fn due(
    reads: &SqlitePool,
    now: Timestamp,
    each: u32,
) -> Result<Vec<DueDelivery>, StoreError> {
    let rows: Vec<DueRow> = sqlx::query_as(DUE)
        .bind(now.as_millisecond())
        .bind(i64::from(each))
        .fetch_all(reads)
        .await?;
    rows.into_iter().map(DueDelivery::try_from).collect()
}

pub(super) async fn log(
    reads: &SqlitePool,
    webhook: WebhookId,
    limit: u32,
) -> Result<Vec<DeliveryRecord>, StoreError> {
    let rows: Vec<DeliveryRow> =
        sqlx::query_as(LOG).bind(webhook.0).bind(i64::from(limit)).fetch_all(reads).await?;
    rows.into_iter().map(DeliveryRecord::try_from).collect()
}

/// Notes what became of a try, and drops what the log has no room for.
impl Verb for Tried {
    type Answer = ();

    async fn run(connection: &mut SqliteConnection, calls: &[Self]) -> Result<Vec<()>, StoreError> {
        let mut changed = BTreeSet::new();
        for tried in calls {
            let webhook: Option<i64> = sqlx::query_scalar(TRIED)
                .bind(tried.delivery.0)
                .bind(tried.answer)
                .bind(tried.error.as_deref())
                .bind(tried.at.as_millisecond())
                .bind(tried.state.as_str())
                .bind(tried.due_at.map(Timestamp::as_millisecond))
                .fetch_optional(&mut *connection)
                .await?;
            changed.extend(webhook.filter(|_| tried.due_at.is_none()));
        }
        for webhook in changed {
            let kept = i64::try_from(DELIVERIES_KEPT).unwrap_or(i64::MAX);
            sqlx::query(DROP).bind(webhook).bind(kept).execute(&mut *connection).await?;
        }
        Ok(vec![(); calls.len()])
    }
}

/// Has a delivery be tried again, as if it were new; answers it, where there is one.
pub(super) struct Redeliver {
    pub(super) webhook: WebhookId,
    pub(super) delivery: DeliveryId,
    pub(super) now: Timestamp,
}

impl Verb for Redeliver {
    type Answer = Option<DeliveryRecord>;

    /// One after the other: people ask for it.
    async fn run(
        connection: &mut SqliteConnection,
        calls: &[Self],
    ) -> Result<Vec<Option<DeliveryRecord>>, StoreError> {
        let mut answers = Vec::with_capacity(calls.len());
        for Self { webhook, delivery, now } in calls {
            let row: Option<DeliveryRow> = sqlx::query_as(AGAIN)
                .bind(webhook.0)
                .bind(delivery.0)
                .bind(now.as_millisecond())
                .fetch_optional(&mut *connection)
                .await?;
            answers.push(row.map(DeliveryRecord::try_from).transpose()?);
        }
        Ok(answers)
    }
}
