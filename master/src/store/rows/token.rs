//! The token table's rows.

use orchestra_contracts::TokenId;
use serde::Deserialize;
use sqlx_macros::FromRow;

use super::Place;
use crate::store::{StoreError, TokenGrant, TokenHash, TokenRecord};

/// A row of `token`.
#[derive(Debug, Deserialize, FromRow)]
pub(in crate::store) struct TokenRow {
    id: i64,
    role: String,
    name: Option<String>,
    worker: Option<String>,
    hash: String,
    created_at: i64,
    revoked_at: Option<i64>,
}

impl TryFrom<TokenRow> for TokenRecord {
    type Error = StoreError;

    fn try_from(row: TokenRow) -> Result<Self, StoreError> {
        let place = Place { table: "token", id: row.id };
        let mut hash = [0; 32];
        hex::decode_to_slice(&row.hash, &mut hash).map_err(|error| place.corrupt(error))?;
        let grant = TokenGrant {
            role: place.word(&row.role)?,
            name: row.name,
            worker: row.worker.as_deref().map(|name| place.word(name)).transpose()?,
            hash: TokenHash(hash),
        };
        Ok(Self {
            id: TokenId(row.id),
            grant,
            created_at: place.time(row.created_at)?,
            revoked_at: place.time_if(row.revoked_at)?,
        })
    }
}
