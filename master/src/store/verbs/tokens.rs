//! Tokens: rarely written, and read whole.

use jiff::Timestamp;
use orchestra_contracts::{TokenId, WorkerName};

use super::Verb;
use crate::store::{
    StoreError, TokenGrant, TokenRecord,
    connection::{Connection, values},
    rows::TokenRow,
    statement::Statement,
};

const ADD: Statement = Statement::plain(
    "
    INSERT INTO token (role, name, worker, hash, created_at) VALUES ($1, $2, $3, $4, $5)
    RETURNING id, role, name, worker, hash, created_at, revoked_at",
);

/// A token that is revoked already keeps its time.
const REVOKE: Statement = Statement::plain(
    "
    UPDATE token SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1
    RETURNING id, role, name, worker, hash, created_at, revoked_at",
);

/// Adds a token.
pub(in crate::store) struct AddToken {
    pub(in crate::store) grant: TokenGrant,
    pub(in crate::store) now: Timestamp,
}

impl Verb for AddToken {
    type Answer = TokenRecord;

    /// One after the other: people ask for them, one at a time.
    async fn run(
        connection: &mut Connection,
        calls: &[Self],
    ) -> Result<Vec<TokenRecord>, StoreError> {
        let mut answers = Vec::with_capacity(calls.len());
        connection.notification.tokens = true;
        for Self { grant, now } in calls {
            let row: Option<TokenRow> = connection
                .one(
                    ADD,
                    values![
                        grant.role.as_str(),
                        grant.name.as_deref(),
                        grant.worker.as_ref().map(WorkerName::as_str),
                        hex::encode(grant.hash.0),
                        now.as_millisecond()
                    ],
                )
                .await?;
            answers.push(row.ok_or(sqlx::Error::RowNotFound)?.try_into()?);
        }
        Ok(answers)
    }
}

/// Revokes a token, for good.
pub(in crate::store) struct RevokeToken {
    pub(in crate::store) id: TokenId,
    pub(in crate::store) now: Timestamp,
}

impl Verb for RevokeToken {
    type Answer = Option<TokenRecord>;

    async fn run(
        connection: &mut Connection,
        calls: &[Self],
    ) -> Result<Vec<Option<TokenRecord>>, StoreError> {
        let mut answers = Vec::with_capacity(calls.len());
        connection.notification.tokens = true;
        for Self { id, now } in calls {
            let row: Option<TokenRow> =
                connection.one(REVOKE, values![id.0, now.as_millisecond()]).await?;
            answers.push(row.map(TokenRecord::try_from).transpose()?);
        }
        Ok(answers)
    }
}
