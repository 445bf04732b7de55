//! The reading connections: a pool of either database.

use sqlx::{
    Arguments as _, AssertSqlSafe, FromRow, PgPool, SqlitePool,
    postgres::PgRow,
    query_as_with,
    sqlite::{SqliteArguments, SqliteRow},
};

use super::{Value, for_postgres};
use crate::store::{StoreError, postgres::errors::about, statement::Statement};

/// A row that the reading connections can read.
pub(in crate::store) trait ReadRow:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

impl<R> ReadRow for R where
    R: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

/// The reading connections.
#[derive(Clone, Debug)]
pub(in crate::store) enum Reads {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Reads {
    /// All rows that the statement answers.
    pub(in crate::store) async fn all<R: ReadRow>(
        &self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<Vec<R>, StoreError> {
        Ok(match self {
            Self::Sqlite(pool) => {
                query_as_with(statement.sqlite, for_sqlite(values)?).fetch_all(pool).await?
            }
            Self::Postgres(pool) => {
                let query = query_as_with(statement.postgres, for_postgres(values)?);
                query.fetch_all(pool).await.map_err(about)?
            }
        })
    }

    /// The same of a statement that was made of pieces.
    pub(in crate::store) async fn all_of<R: ReadRow>(
        &self,
        text: String,
        values: Vec<Value>,
    ) -> Result<Vec<R>, StoreError> {
        let text = AssertSqlSafe(text);
        Ok(match self {
            Self::Sqlite(pool) => query_as_with(text, for_sqlite(values)?).fetch_all(pool).await?,
            Self::Postgres(pool) => {
                let query = query_as_with(text, for_postgres(values)?);
                query.fetch_all(pool).await.map_err(about)?
            }
        })
    }

    /// Its one row, if there is any.
    pub(in crate::store) async fn one<R: ReadRow>(
        &self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<Option<R>, StoreError> {
        Ok(match self {
            Self::Sqlite(pool) => {
                query_as_with(statement.sqlite, for_sqlite(values)?).fetch_optional(pool).await?
            }
            Self::Postgres(pool) => {
                query_as_with(statement.postgres, for_postgres(values)?)
                    .fetch_optional(pool)
                    .await?
            }
        })
    }

    /// The one column of its one row, if there is any.
    pub(in crate::store) async fn scalar<T>(
        &self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<Option<T>, StoreError>
    where
        (T,): ReadRow,
    {
        Ok(self.one::<(T,)>(statement, values).await?.map(|(value,)| value))
    }

    /// Whether this is SQLite, which has another syntax for lists.
    pub(in crate::store) fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }

    /// Closes the connections; returns when the reads have ended.
    pub(in crate::store) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

fn for_sqlite(values: Vec<Value>) -> Result<SqliteArguments, sqlx::Error> {
    let mut arguments = SqliteArguments::default();
    for value in values {
        let added = match value {
            Value::Int(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::Bytes(value) => arguments.add(value),
            Value::Bool(value) => arguments.add(value),
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}
