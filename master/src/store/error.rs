//! Why the store failed, and what the errors of a database driver mean to operators.

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
/// The hint for an unexpected error.
pub(super) const DEFECT: &str = "this is a defect of Orchestra: please report it";

/// Why the database failed. Its text fits "the database cannot be used: {error}".
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database may work again later: it is locked, read-only, or cannot be reached.
    #[error("{reason}; {hint}")]
    Unavailable { reason: String, hint: &'static str },
    /// The disk is full, or nearly full. Calls that add data are refused until there is space.
    #[error("{reason}; make room on its disk")]
    NoRoom { reason: String },
    /// A row cannot be read: its content is not valid.
    #[error("row {id} of table {table} cannot be read: {reason}")]
    Corrupt { table: &'static str, id: i64, reason: String },
    /// The file is not a usable database.
    #[error("{reason}; {hint}")]
    Unusable { reason: String, hint: &'static str },
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let unavailable = |hint| Self::Unavailable { reason: error.to_string(), hint };
        match &error {
            sqlx::Error::PoolTimedOut => unavailable("all its connections are busy; try again"),
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                unavailable("the master is shutting down; try again when it is back")
            }
            sqlx::Error::Io(_) => unavailable("look at its disk"),
            sqlx::Error::Database(said) => {
                let code = said.code().and_then(|code| code.parse().ok());
                of_sqlite(code, said.message().to_owned())
            }
            _ => unavailable(DEFECT),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let code = error.sqlite_error().map(|error| error.extended_code);
        let reason = match error {
            rusqlite::Error::SqliteFailure(_, Some(reason)) => reason,
            error => error.to_string(),
        };
        of_sqlite(code, reason)
    }
}

/// Converts an error of SQLite, by its extended code.
fn of_sqlite(code: Option<i32>, reason: String) -> StoreError {
    let hint = match code.map(|code| code & 0xff) {
        _ if code == Some(IOERR_SHMSIZE) => return StoreError::NoRoom { reason },
        Some(FULL) => return StoreError::NoRoom { reason },
        Some(CORRUPT | NOTADB) => return StoreError::Unusable { reason, hint: DAMAGED },
        Some(BUSY | LOCKED) => "another program holds the database; close it",
        Some(READONLY) => "make its file and folder writable",
        Some(IOERR) => "look at its disk and the kernel's log",
        Some(CANTOPEN) => "its folder must exist and be writable",
        _ => DEFECT,
    };
    StoreError::Unavailable { reason, hint }
}
