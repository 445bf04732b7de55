//! Transfers the content of a SQLite file into an empty PostgreSQL database, in one transaction.
//!
//! Rows are sent in the text format of PostgreSQL's `COPY`. PostgreSQL writes them in the same form
//! when they are read back, so a digest of each table shows whether all of it has arrived.

pub(super) mod tables;
mod text;

use std::path::PathBuf;

use futures::TryStreamExt as _;
use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};

pub(super) use self::tables::COUNTED;
use self::{
    tables::{Column, TABLES, Table},
    text::write_row,
};
use super::{
    StoreError,
    open::Kind,
    postgres::{self, errors::about, job_count},
    sqlite::offline::Offline,
};

/// Rows are sent in pieces of about this size.
const PIECE: usize = 1 << 20;

/// The result of a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The number of rows of each table that is not empty.
    pub rows: Vec<(&'static str, u64)>,
    /// The new path of the file, which no master uses.
    pub kept: PathBuf,
}

/// Moves the SQLite database at the URL `from`, which no master uses, into the empty PostgreSQL
/// database at `to`. If it fails, neither has changed. At the end the file is renamed, so that no
/// master hands its jobs out as well.
///
/// # Errors
/// [`StoreError::Unusable`] when a master has the file, when the target is not empty, and when what arrived
/// is not what was sent.
pub async fn transfer(from: &str, to: &str) -> Result<Moved, StoreError> {
    let (Kind::Sqlite(path), Kind::Postgres) = (Kind::of(from)?, Kind::of(to)?) else {
        return Err(StoreError::Unusable {
            reason: "only an SQLite file can be moved, and only into PostgreSQL".to_owned(),
            hint: "as in --from sqlite:.orchestra/orchestra.db --to postgres://user@host/database",
        });
    };
    let mut source = Offline::open(path).await?;
    let mut target = postgres::open::for_transfer(to).await?;
    let mut rows = Vec::new();
    tell(&mut target, "BEGIN").await?;
    refuse_rows(&mut target).await?;
    for table in TABLES {
        rows.push((table.name, copy(table, &mut source.connection, &mut target).await?));
    }
    go_on_counting(&mut source.connection, &mut target).await?;
    job_count::count_afresh(&mut target).await.map_err(about)?;
    tell(&mut target, "COMMIT").await?;
    // Without it the first queries on tables that were empty a moment ago are planned badly.
    tell(&mut target, "ANALYZE").await?;
    let _ = target.close().await;
    let mut kept = path.as_os_str().to_owned();
    kept.push(".moved");
    let kept = PathBuf::from(kept);
    source.move_to(path, &kept).await?;
    Ok(Moved { rows, kept })
}

async fn tell(link: &mut PgConnection, statement: &str) -> Result<(), StoreError> {
    let told = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(link).await;
    told.map(drop).map_err(about)
}

/// Locks the tables until the end of the transaction, and checks that they are empty.
async fn refuse_rows(target: &mut PgConnection) -> Result<(), StoreError> {
    for Table { name, .. } in TABLES {
        tell(target, &format!("LOCK TABLE {name} IN EXCLUSIVE MODE")).await?;
        let question = AssertSqlSafe(format!("SELECT EXISTS (SELECT 1 FROM {name})"));
        let found: bool =
            sqlx::query_scalar(question).fetch_one(&mut *target).await.map_err(about)?;
        if found {
            return Err(StoreError::Unusable {
                reason: format!("PostgreSQL: the table {name} has rows already"),
                hint: "move into an empty database; a master that has run on it may have made tokens there",
            });
        }
    }
    Ok(())
}

/// Moves one table; returns its number of rows.
async fn copy(
    table: &Table,
    source: &mut SqliteConnection,
    target: &mut PgConnection,
) -> Result<u64, StoreError> {
    let columns = Column::of(table, target).await?;
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let (name, names, key) = (table.name, names.join(", "), table.key);
    let question = AssertSqlSafe(format!("SELECT {names} FROM {name} ORDER BY {key}"));
    let statement = format!("COPY {name} ({names}) FROM STDIN");
    let (mut sent, mut count, mut piece) = (Sha256::new(), 0, Vec::new());
    let mut sink = target.copy_in_raw(&statement).await.map_err(about)?;
    let mut rows = sqlx::query(question).fetch(source);
    while let Some(row) = rows.try_next().await? {
        write_row(&mut piece, &row, &columns)?;
        count += 1;
        if piece.len() >= PIECE {
            sent.update(&piece);
            sink.send(std::mem::take(&mut piece)).await.map_err(about)?;
        }
    }
    sent.update(&piece);
    sink.send(piece).await.map_err(about)?;
    let stored = sink.finish().await.map_err(about)?;
    let statement = format!("COPY (SELECT {names} FROM {name} ORDER BY {key}) TO STDOUT");
    let mut arrived = Sha256::new();
    let mut pieces = target.copy_out_raw(&statement).await.map_err(about)?;
    while let Some(piece) = pieces.try_next().await.map_err(about)? {
        arrived.update(&piece);
    }
    if stored != count || sent.finalize() != arrived.finalize() {
        return Err(StoreError::Unusable {
            reason: format!(
                "{stored} of {count} rows of {name} have arrived, or not as they were sent"
            ),
            hint: "nothing was stored; this is a defect of Orchestra: please report it",
        });
    }
    Ok(count)
}

/// Continues the ids where the file's would have continued.
async fn go_on_counting(
    source: &mut SqliteConnection,
    target: &mut PgConnection,
) -> Result<(), StoreError> {
    for (table, sequence) in COUNTED {
        let last = format!(
            "SELECT max(coalesce((SELECT max(id) FROM {table}), 0),
                        coalesce((SELECT seq FROM sqlite_sequence WHERE name = '{table}'), 0))"
        );
        let last: i64 = sqlx::query_scalar(AssertSqlSafe(last)).fetch_one(&mut *source).await?;
        if last > 0 {
            tell(target, &format!("SELECT setval({sequence}, {last})")).await?;
        }
    }
    Ok(())
}
