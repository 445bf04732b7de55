//! Backups of a whole database, made while it is in use, and their restoration.
//!
//! Only SQLite's file is copied here. PostgreSQL has tools of its own for that.

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

/// A backup that was made and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    pub size: Size,
    /// How many jobs are in it, ended ones included.
    pub jobs: u64,
    /// The version of its schema.
    pub schema: i64,
}

/// The result of a restoration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Where the previous database was moved to, if there was one.
    pub kept: Option<PathBuf>,
    /// How many jobs were restored.
    pub jobs: u64,
    /// The last job id that may have been given out: the next job gets a higher one.
    pub last: JobId,
    /// How many tokens were revoked after the backup, and are revoked in the restored database,
    /// too; `None` if the previous database could not be read.
    pub revoked: Option<u64>,
    /// What became of the jobs that had not ended.
    pub settled: Settled,
}

/// Copies the database at `url` into a new `file`, as it is at one moment. A master may write
/// meanwhile.
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

/// Replaces the database at `url`, whose master must have ended, by a copy of `file`. Jobs are
/// settled first, see [`Settled`]; `terms` say when everything that runs on workers has ended by
/// itself.
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

/// The session names of masters.
const MASTERS: &str = "
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'orchestra' AND pid <> pg_backend_pid()";

/// Settles a PostgreSQL database that was restored by PostgreSQL's tools: treats jobs and ids as
/// [`restore`] does.
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
