//! Writes, and changes nothing: whether that is possible can be told only so.

use super::Verb;
use crate::store::{
    StoreError,
    connection::{Connection, Link},
    postgres::errors::about,
};

/// The number costs PostgreSQL a record in its log; a server that only follows another has none.
const NUMBER: &str = "SELECT pg_current_xact_id()::text";

pub(in crate::store) struct Probe;

impl Verb for Probe {
    type Answer = ();

    async fn run(connection: &mut Connection, calls: &[Self]) -> Result<Vec<()>, StoreError> {
        match connection.link() {
            Link::Sqlite(link) => {
                let version: i64 =
                    sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *link).await?;
                let write = sqlx::AssertSqlSafe(format!("PRAGMA user_version = {version}"));
                sqlx::query(write).execute(link).await?;
            }
            Link::Postgres(link) => {
                sqlx::query(NUMBER).execute(link).await.map_err(about)?;
            }
        }
        Ok(vec![(); calls.len()])
    }
}
