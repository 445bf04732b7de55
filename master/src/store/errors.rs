//! What a database's own errors mean to those who run it.

use super::StoreError;

// https://www.sqlite.org/rescode.html: the low byte is the primary code.
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const READONLY: i32 = 8;
const IOERR: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const NOTADB: i32 = 26;
/// On a full disk the index of the write-ahead log fails to grow with this.
const IOERR_SHMSIZE: i32 = IOERR | (19 << 8);

/// What to do with a file that SQLite cannot read.
pub(super) const DAMAGED: &str =
    "restore it from a backup, or move it and its -wal file away to begin with an empty one";
/// What to do about an error that nobody foresaw.
pub(super) const DEFECT: &str = "this is a defect of Orchestra: please report it";

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let unavailable = |hint| Self::Unavailable { reason: reason(&error), hint };
        match &error {
            sqlx::Error::PoolTimedOut => unavailable("all its connections are busy; try again"),
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                unavailable("the master is shutting down; try again when it is back")
            }
            sqlx::Error::Io(_) => unavailable("look at its disk"),
            sqlx::Error::Database(_) if extended_code(&error) == Some(IOERR_SHMSIZE) => {
                Self::NoRoom { reason: reason(&error) }
            }
            sqlx::Error::Database(_) => match sqlite_code(&error) {
                Some(BUSY | LOCKED) => unavailable("another program holds the database; close it"),
                Some(READONLY) => unavailable("make its file and folder writable"),
                Some(IOERR) => unavailable("look at its disk and the kernel's log"),
                Some(FULL) => Self::NoRoom { reason: reason(&error) },
                Some(CANTOPEN) => unavailable("its folder must exist and be writable"),
                Some(CORRUPT | NOTADB) => Self::Unusable { reason: reason(&error), hint: DAMAGED },
                _ => unavailable(DEFECT),
            },
            _ => unavailable(DEFECT),
        }
    }
}

/// The database's own words, without sqlx's around them.
fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        error => error.to_string(),
    }
}

fn sqlite_code(error: &sqlx::Error) -> Option<i32> {
    Some(extended_code(error)? & 0xff)
}

fn extended_code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}
