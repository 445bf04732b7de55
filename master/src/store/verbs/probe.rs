//! Probes whether the database can be written to: writes without changing anything.

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
                    link.pragma_query_value(None, "user_version", |row| row.get(0))?;
                link.pragma_update(None, "user_version", version)?;
            }
            Link::Postgres(link) => {
                sqlx::query(NUMBER).execute(link).await.map_err(about)?;
            }
        }
        Ok(vec![(); calls.len()])
    }
}
