//! The tables to transfer, ordered so that no row refers to one that is still to come.

use sqlx::PgConnection;

use crate::store::{StoreError, postgres::errors::about};

/// One table, and the columns of its key, by which both databases can order it alike.
#[derive(Debug)]
pub(in crate::store) struct Table {
    pub(in crate::store) name: &'static str,
    pub(super) key: &'static str,
}

macro_rules! tables {
    ($($name:literal by $key:literal),+ $(,)?) => {
        &[$(Table { name: $name, key: $key }),+]
    };
}

pub(in crate::store) const TABLES: &[Table] = tables![
    "job" by "id",
    "attempt" by "job_id, number",
    "log_chunk" by "job_id, attempt, log_offset",
    "dependency" by "job_id, upstream",
    "worker" by "name",
    "queue" by "name",
    "schedule" by "name",
    "token" by "id",
    "submission" by "token, key",
    "webhook" by "id",
    "delivery" by "id",
    "artifact" by "id",
    "artifact_piece" by "artifact, place",
    "upload" by "id",
    "upload_piece" by "upload, place",
    "job_upload" by "job_id, upload",
];

/// Tables that count, and the sequence of each.
pub(in crate::store) const COUNTED: [(&str, &str); 6] = [
    ("job", "'job_id'"),
    ("token", "pg_get_serial_sequence('token', 'id')"),
    ("webhook", "pg_get_serial_sequence('webhook', 'id')"),
    ("delivery", "pg_get_serial_sequence('delivery', 'id')"),
    ("artifact", "pg_get_serial_sequence('artifact', 'id')"),
    ("upload", "pg_get_serial_sequence('upload', 'id')"),
];

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Number,
    Text,
    Bytes,
    /// A number in SQLite.
    Truth,
}

#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) holds: Holds,
}

/// `regclass` finds the table that a statement would.
const COLUMNS: &str = "
    SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute
    WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum";

impl Column {
    /// Those of a table, as PostgreSQL has them.
    pub(super) async fn of(
        table: &Table,
        target: &mut PgConnection,
    ) -> Result<Vec<Self>, StoreError> {
        let asked = sqlx::query_as(COLUMNS).bind(table.name).fetch_all(target).await;
        let columns: Vec<(String, String)> = asked.map_err(about)?;
        let column = |(name, kind): (String, String)| {
            let holds = match kind.as_str() {
                "bigint" => Holds::Number,
                "bytea" => Holds::Bytes,
                "boolean" => Holds::Truth,
                _ => Holds::Text,
            };
            Self { name, holds }
        };
        Ok(columns.into_iter().map(column).collect())
    }
}
