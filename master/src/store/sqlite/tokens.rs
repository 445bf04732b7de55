//! Tokens: rarely written, and read whole.

use jiff::Timestamp;
use orchestra_contracts::{TokenId, WorkerName};
use sqlx::SqliteConnection;

use super::batch::Verb;
use crate::store::{StoreError, TokenGrant, TokenRecord, rows::TokenRow};

const ADD: &str = "
    INSERT INTO token (role, name, worker, hash, created_at) VALUES ($1, $2, $3, $4, $5)
    RETURNING id, role, name, worker, hash, created_at, revoked_at";

/// Whoever was revoked before keeps that time.
const REVOKE: &str = "
    UPDATE token SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1
    RETURNING id, role, name, worker, hash, created_at, revoked_at";

/// Adds a token.
pub(super) struct AddToken {
    pub(super) grant: TokenGrant,
    pub(super) now: Timestamp,
}

impl Verb for AddToken {
    type Answer = TokenRecord;

    /// One after the other: people ask for them, one at a time.
    async fn run(
        connection: &mut SqliteConnection,
        calls: &[Self],
    ) -> Result<Vec<TokenRecord>, StoreError> {
        let mut answers = Vec::with_capacity(calls.len());
        for Self { grant, now } in calls {
            let row: TokenRow = sqlx::query_as(ADD)
                .bind(grant.role.as_str())
                .bind(grant.name.as_deref())
                .bind(grant.worker.as_ref().map(WorkerName::as_str))
                .bind(hex::encode(grant.hash.0))
                .bind(now.as_millisecond())
                .fetch_one(&mut *connection)
                .await?;
            answers.push(row.try_into()?);
        }
        Ok(answers)
    }
}

/// Takes a token back, for good.
pub(super) struct RevokeToken {
    pub(super) id: TokenId,
    pub(super) now: Timestamp,
}

impl Verb for RevokeToken {
    type Answer = Option<TokenRecord>;

    async fn run(
        connection: &mut SqliteConnection,
        calls: &[Self],
    ) -> Result<Vec<Option<TokenRecord>>, StoreError> {
        let mut answers = Vec::with_capacity(calls.len());
        for Self { id, now } in calls {
            let row: Option<TokenRow> = sqlx::query_as(REVOKE)
                .bind(id.0)
                .bind(now.as_millisecond())
                .fetch_optional(&mut *connection)
                .await?;
            answers.push(row.map(TokenRecord::try_from).transpose()?);
        }
        Ok(answers)
    }
}
