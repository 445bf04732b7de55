//! The writing connection, called directly on the writer's thread.
//!
//! sqlx gives each connection a thread, and every statement passes to it and back. Woken twice for
//! each of a dozen statements, both threads did little else. The calls here block, so the writer
//! has a thread of its own.

use std::{path::Path, time::Duration};

use rusqlite::{
    Connection, OpenFlags, Row, Statement, ToSql,
    config::DbConfig,
    types::{ToSqlOutput, Value as Owned, ValueRef},
};
use serde::de::DeserializeOwned;

use super::{open::about_link, rows::read};
use crate::store::{StoreError, connection::Value};

/// All of ours are fewer; each is compiled once.
const KEPT_STATEMENTS: usize = 128;

/// Opens a database that is there and whose tables are up to date.
pub(in crate::store) fn connect(
    path: &Path,
    patience: Duration,
    wal_kept: &str,
) -> Result<Connection, StoreError> {
    let open = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let link = Connection::open_with_flags(path, flags)?;
        link.busy_timeout(patience)?;
        link.set_prepared_statement_cache_capacity(KEPT_STATEMENTS);
        // Else it compiles a statement anew for every value of its LIMIT.
        link.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        // An answer is given after its commit has reached the disk.
        link.execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
             PRAGMA journal_size_limit = {wal_kept}"
        ))?;
        Ok(link)
    };
    open().map_err(|error: rusqlite::Error| about_link(path, error))
}

/// All rows that the statement answers.
pub(in crate::store) fn all<R: FromSqlite>(
    link: &Connection,
    statement: &str,
    values: &[Value],
) -> Result<Vec<R>, StoreError> {
    let mut statement = link.prepare_cached(statement)?;
    bind(&mut statement, values)?;
    let (mut rows, mut found) = (statement.raw_query(), Vec::new());
    while let Some(row) = rows.next()? {
        found.push(R::from_sqlite(row)?);
    }
    Ok(found)
}

/// The first of them. The statement is run to its end all the same: it may change something.
pub(in crate::store) fn one<R: FromSqlite>(
    link: &Connection,
    statement: &str,
    values: &[Value],
) -> Result<Option<R>, StoreError> {
    Ok(all(link, statement, values)?.into_iter().next())
}

/// The number of changed rows.
pub(in crate::store) fn change(
    link: &Connection,
    statement: &str,
    values: &[Value],
) -> Result<u64, StoreError> {
    let mut statement = link.prepare_cached(statement)?;
    bind(&mut statement, values)?;
    Ok(statement.raw_execute()? as u64)
}

/// The same of a statement that is made for once.
pub(in crate::store) fn change_once(
    link: &Connection,
    statement: &str,
    values: &[Value],
) -> Result<u64, StoreError> {
    let mut statement = link.prepare(statement)?;
    bind(&mut statement, values)?;
    Ok(statement.raw_execute()? as u64)
}

/// SQLite numbers `$2` by where it stands in the text; we mean the second value.
fn bind(statement: &mut Statement<'_>, values: &[Value]) -> Result<(), rusqlite::Error> {
    for place in 1..=statement.parameter_count() {
        let name = statement.parameter_name(place).and_then(|name| name.strip_prefix('$'));
        let number = name.and_then(|name| name.parse::<usize>().ok());
        let value = number.and_then(|number| values.get(number.checked_sub(1)?));
        let value = value.ok_or(rusqlite::Error::InvalidParameterCount(values.len(), place))?;
        statement.raw_bind_parameter(place, value)?;
    }
    Ok(())
}

impl ToSql for Value {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>, rusqlite::Error> {
        Ok(match self {
            Self::Int(Some(value)) => ToSqlOutput::Owned(Owned::Integer(*value)),
            Self::Bool(value) => ToSqlOutput::Owned(Owned::Integer((*value).into())),
            Self::Text(Some(value)) => ToSqlOutput::Borrowed(ValueRef::Text(value.as_bytes())),
            Self::Bytes(Some(value)) => ToSqlOutput::Borrowed(ValueRef::Blob(value)),
            Self::Int(None) | Self::Text(None) | Self::Bytes(None) => {
                ToSqlOutput::Owned(Owned::Null)
            }
        })
    }
}

/// What is made of a row.
pub(in crate::store) trait FromSqlite: Sized {
    fn from_sqlite(row: &Row<'_>) -> Result<Self, StoreError>;
}

impl<T: DeserializeOwned> FromSqlite for T {
    fn from_sqlite(row: &Row<'_>) -> Result<Self, StoreError> {
        read(row)
    }
}
