//! Copies of a whole database, made while it is in use, and the way back from one.
//!
//! A file of SQLite's is copied here. PostgreSQL has means of its own, which know its server; nothing
//! of ours would be better.

use std::path::{Path, PathBuf};

use orchestra_contracts::{JobId, Size};
use sqlx::{AssertSqlSafe, Connection as _};

use super::{
    StoreError,
    connection::{Connection, Link},
    open::Kind,
    postgres::{self, errors::about, job_count},
    settle::{self, GAP, SettleTerms, Settled},
    sqlite::copy,
    transfer::COUNTED,
};

/// A copy that was made and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    pub size: Size,
    /// So many jobs are in it, ended ones included.
    pub jobs: u64,
    /// The version of its schema.
    pub schema: i64,
}

/// What came of going back to a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Where the database is now that was there before, if there was any.
    pub kept: Option<PathBuf>,
    /// So many jobs are there again.
    pub jobs: u64,
    /// The last id that may have been given: the next job gets a higher one.
    pub last: JobId,
    /// Tokens that were revoked after the backup, and are revoked in what was restored; `None` where the
    /// database before could not be read.
    pub revoked: Option<u64>,
    /// What became of the jobs that had not ended.
    pub settled: Settled,
}

/// Copies the database that `url` names into a new `file`, as it is at one moment. A master may go on
/// writing meanwhile.
///
/// # Errors
/// [`StoreError::Unusable`] when the file exists, or the database is none of ours or damaged;
/// [`StoreError::NoRoom`] when the copy does not fit on the disk. Nothing is left of it then.
pub async fn backup(url: &str, file: &Path) -> Result<Backup, StoreError> {
    match Kind::of(url)? {
        Kind::Sqlite(database) => copy::backup(database, file).await,
        Kind::Postgres => Err(StoreError::Unusable {
            reason: "a PostgreSQL database is backed up by its own means".to_owned(),
            hint: "run pg_dump --format=custom --file=FILE, or let the server archive its log; \
                   docs/operations.md has the steps",
        }),
    }
}

/// Puts a copy of `file` in the place of the database that `url` names, whose master must have ended.
/// Jobs are settled first as [`Settled`] says; `terms` say when what runs on workers has ended by itself.
///
/// # Errors
/// [`StoreError::Unusable`] when a master holds the database, and when the file is no backup, is
/// damaged or of a newer version. What was there is there as before then.
pub async fn restore(url: &str, file: &Path, terms: SettleTerms) -> Result<Restored, StoreError> {
    match Kind::of(url)? {
        Kind::Sqlite(database) => copy::restore(database, file, terms).await,
        Kind::Postgres => Err(StoreError::Unusable {
            reason: "a PostgreSQL database is restored by its own means".to_owned(),
            hint: "run pg_restore with no master on it, then `orchestra admin settle`; docs/operations.md has the \
                   steps",
        }),
    }
}

/// Sessions of masters, as they name themselves.
const MASTERS: &str = "
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'orchestra' AND pid <> pg_backend_pid()";

/// Where a database of PostgreSQL's was restored by its own means: does with jobs and ids what [`restore`] does.
///
/// # Errors
/// [`StoreError::Unusable`] when a master is connected to it.
pub async fn settle(url: &str, terms: SettleTerms) -> Result<Settled, StoreError> {
    let Kind::Postgres = Kind::of(url)? else {
        return Err(StoreError::Unusable {
            reason: "an SQLite file is settled where it is restored".to_owned(),
            hint: "run orchestra admin restore FILE",
        });
    };
    let mut link = postgres::open::for_transfer(url).await?;
    let masters: i64 = sqlx::query_scalar(MASTERS).fetch_one(&mut link).await.map_err(about)?;
    if masters > 0 {
        return Err(StoreError::Unusable {
            reason: format!("PostgreSQL: {masters} sessions of masters are open"),
            hint: "stop all masters first",
        });
    }
    sqlx::raw_sql("BEGIN").execute(&mut link).await.map_err(about)?;
    for (_, sequence) in COUNTED {
        let further = format!("SELECT setval({sequence}, nextval({sequence}) + {GAP})");
        sqlx::raw_sql(AssertSqlSafe(further)).execute(&mut link).await.map_err(about)?;
    }
    let mut connection = Connection::new(Link::Postgres(link));
    let settled = settle::settle(&mut connection, terms).await?;
    let tally = connection.tally.take();
    if let Link::Postgres(mut link) = connection.into_link() {
        job_count::add(&mut link, tally).await.map_err(about)?;
        sqlx::raw_sql("COMMIT").execute(&mut link).await.map_err(about)?;
        let _ = link.close().await;
    }
    Ok(settled)
}
