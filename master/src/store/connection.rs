//! Runs statements on either database. The wording of a statement is in the statement; this module
//! binds the values and reads the rows.

mod reads;

use orchestra_contracts::JobId;
use sqlx::{
    Arguments as _, AssertSqlSafe, FromRow, PgConnection,
    postgres::{PgArguments, PgRow},
    query_as_with, query_with,
};

pub(super) use self::reads::Reads;
use super::{
    StoreError,
    compression::LogCodec,
    counts::Tally,
    notification::Notification,
    postgres::errors::about,
    rows::to_json,
    sqlite::link::{self, FromSqlite},
    statement::{Statement, statement},
};

/// A row that the writing connection can read, from either database.
pub(super) trait Row: FromSqlite + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

impl<R> Row for R where R: FromSqlite + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

/// The values of `$1` and the following parameters.
#[derive(Debug)]
pub(super) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
    Bool(bool),
}

macro_rules! values {
    ($($value:expr),* $(,)?) => {
        vec![$($crate::store::connection::Value::from($value)),*]
    };
}

pub(super) use values;

macro_rules! from {
    ($($from:ty: |$value:ident| $into:expr),+ $(,)?) => {
        $(impl From<$from> for Value {
            fn from($value: $from) -> Self {
                $into
            }
        })+
    };
}

from! {
    i64: |value| Self::Int(Some(value)),
    Option<i64>: |value| Self::Int(value),
    u32: |value| Self::Int(Some(value.into())),
    String: |value| Self::Text(Some(value)),
    &str: |value| Self::Text(Some(value.to_owned())),
    &String: |value| Self::Text(Some(value.clone())),
    Option<&str>: |value| Self::Text(value.map(str::to_owned)),
    Option<&String>: |value| Self::Text(value.cloned()),
    Vec<u8>: |value| Self::Bytes(Some(value)),
    Option<Vec<u8>>: |value| Self::Bytes(value),
    bool: |value| Self::Bool(value),
}

/// The writing connection, and what it has to tell other masters.
#[derive(Debug)]
pub(super) struct Connection {
    link: Link,
    /// The notification about the open transaction.
    pub(super) notification: Notification,
    /// By how much the open transaction changes the numbers of jobs.
    pub(super) tally: Tally,
    /// How logs are packed.
    pub(super) codec: LogCodec,
}

#[derive(Debug)]
pub(super) enum Link {
    /// Its calls block, so they belong on a thread of their own.
    Sqlite(rusqlite::Connection),
    Postgres(PgConnection),
}

/// Locks these jobs: waits for other transactions that change them, and makes others wait.
const LOCK_JOBS: Statement = statement!(()
    "SELECT j.id FROM " {ids "$1"} " JOIN job AS j ON j.id = r.id ORDER BY j.id"
    ["" | " FOR UPDATE OF j"]);

/// Locks those of these jobs that no other transaction is changing and that still wait for a
/// worker.
const LOCK_WAITING: Statement = statement!(()
    "SELECT j.id FROM " {ids "$1"} " JOIN job AS j ON j.id = r.id
     WHERE j.status = 'Pending' AND j.waits_for = 'worker' ORDER BY j.id"
    ["" | " FOR UPDATE OF j SKIP LOCKED"]);

/// The last job id that was given out. No other transaction gives one out meanwhile: in PostgreSQL
/// a transaction that adds jobs holds a lock from its beginning.
const NEXT_IDS: Statement = statement!(
    ()["SELECT coalesce(max(seq), 0) + CAST($1 AS INTEGER) FROM sqlite_sequence WHERE name = 'job'"
        | "SELECT setval('job_id', nextval('job_id') + $1 - 1)"]
);

const LOCK_ARRAY: &str = "SELECT pg_advisory_xact_lock($1, $2)";
/// Tells locks of arrays from other locks.
const ARRAYS: i32 = 0x6f72_6101;

impl Connection {
    pub(super) fn new(link: Link) -> Self {
        Self::with_codec(link, LogCodec::default())
    }

    /// Like [`Self::new`], but compresses logs with `codec`.
    pub(super) fn with_codec(link: Link, codec: LogCodec) -> Self {
        Self { link, notification: Notification::default(), tally: Tally::default(), codec }
    }

    pub(super) fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    pub(super) fn into_link(self) -> Link {
        self.link
    }

    /// Whether other masters may write at the same time.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.link, Link::Postgres(_))
    }

    /// All rows that the statement answers.
    pub(super) async fn all<R: Row>(
        &mut self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<Vec<R>, StoreError> {
        Ok(match &mut self.link {
            Link::Sqlite(link) => link::all(link, statement.sqlite, &values)?,
            Link::Postgres(link) => {
                let query = query_as_with(statement.postgres, for_postgres(values)?);
                query.fetch_all(link).await.map_err(about)?
            }
        })
    }

    /// Its one row, if there is any.
    pub(super) async fn one<R: Row>(
        &mut self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<Option<R>, StoreError> {
        Ok(match &mut self.link {
            Link::Sqlite(link) => link::one(link, statement.sqlite, &values)?,
            Link::Postgres(link) => {
                query_as_with(statement.postgres, for_postgres(values)?)
                    .fetch_optional(link)
                    .await?
            }
        })
    }

    /// The one column of all rows.
    pub(super) async fn scalars<T>(
        &mut self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<Vec<T>, StoreError>
    where
        (T,): Row,
    {
        let rows: Vec<(T,)> = self.all(statement, values).await?;
        Ok(rows.into_iter().map(|(value,)| value).collect())
    }

    /// The one column of its one row, if there is any.
    pub(super) async fn scalar<T>(
        &mut self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<Option<T>, StoreError>
    where
        (T,): Row,
    {
        Ok(self.one::<(T,)>(statement, values).await?.map(|(value,)| value))
    }

    /// The number of changed rows.
    pub(super) async fn change(
        &mut self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<u64, StoreError> {
        Ok(match &mut self.link {
            Link::Sqlite(link) => link::change(link, statement.sqlite, &values)?,
            Link::Postgres(link) => {
                let query = query_with(statement.postgres, for_postgres(values)?);
                query.execute(link).await.map_err(about)?.rows_affected()
            }
        })
    }

    /// The same of a statement that is made for once: there is no use in remembering it.
    pub(super) async fn change_once(
        &mut self,
        text: String,
        values: Vec<Value>,
    ) -> Result<u64, StoreError> {
        Ok(match &mut self.link {
            Link::Sqlite(link) => link::change_once(link, &text, &values)?,
            Link::Postgres(link) => {
                let query =
                    query_with(AssertSqlSafe(text), for_postgres(values)?).persistent(false);
                query.execute(link).await.map_err(about)?.rows_affected()
            }
        })
    }

    /// Locks these jobs until the end of the transaction. A job is locked before it is read for a
    /// change, and read by another statement: a statement that waits for a lock would see other
    /// rows as they were before.
    pub(super) async fn lock_jobs(&mut self, ids: &[JobId]) -> Result<(), StoreError> {
        if self.is_shared() && !ids.is_empty() {
            self.all::<(i64,)>(LOCK_JOBS, values![to_json(&ids)]).await?;
        }
        Ok(())
    }

    /// Locks those of these jobs that can be handed out now, without waiting.
    pub(super) async fn lock_waiting(&mut self, ids: &[JobId]) -> Result<Vec<JobId>, StoreError> {
        if !self.is_shared() {
            return Ok(ids.to_vec());
        }
        let free: Vec<i64> = self.scalars(LOCK_WAITING, values![to_json(&ids)]).await?;
        Ok(free.into_iter().map(JobId).collect())
    }

    /// Locks this array, so that no other transaction counts its running jobs: two that count at
    /// once would both count the job that the other ends, and release too few.
    pub(super) async fn lock_array(&mut self, array: JobId) -> Result<(), StoreError> {
        if let Link::Postgres(link) = &mut self.link {
            // Two numbers that share a lock wait for each other, and that is all.
            let lock = sqlx::query(LOCK_ARRAY).bind(ARRAYS).bind(array.0 as i32);
            lock.execute(link).await.map_err(about)?;
        }
        Ok(())
    }

    /// Reserves so many consecutive ids and returns the first.
    pub(super) async fn next_ids(&mut self, count: usize) -> Result<i64, StoreError> {
        let last: Option<i64> = self.scalar(NEXT_IDS, values![count as i64]).await?;
        Ok(last.unwrap_or_default() - count as i64 + 1)
    }
}

fn for_postgres(values: Vec<Value>) -> Result<PgArguments, sqlx::Error> {
    let mut arguments = PgArguments::default();
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
