//! Opens a SQLite file: creates, checks and migrates it.

use std::{collections::BTreeMap, fs, io, path::Path, sync::Arc, time::Duration};

use orchestra_contracts::Size;
use sqlx::{
    ConnectOptions as _, Connection as _, SqliteConnection,
    migrate::{MigrateError, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{
    Sqlite, SqliteStore,
    disk_space::DiskSpace,
    engine::SqliteEngine,
    link,
    lock::{DatabaseFile, LockFile, beside},
};
use crate::store::{
    LogCodec, StoreError, compatibility,
    connection::{Connection, Link, Reads},
    counts::{Counts, Open},
    error::{DAMAGED, DEFECT},
    writer,
};

/// In the order of their numbers; a released one is never edited.
pub(in crate::store) static MIGRATIONS: Migrator = sqlx_macros::migrate!("migrations/sqlite");

/// How long to wait for a program beside us, such as a backup or the sqlite3 shell.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// A read takes microseconds; the second one is for a long list.
const READERS: u32 = 4;
/// How long a read waits for one of them.
const READER_WAIT: Duration = Duration::from_secs(10);
const COUNT: &str = "SELECT queue, status, count(*) FROM job
     WHERE status IN ('Pending', 'Assigned', 'Running') GROUP BY queue, status";
/// What a burst leaves of the write-ahead log's file.
const WAL_KEPT: &str = "67108864";

pub(super) async fn open(
    path: &Path,
    min_free: Size,
    codec: LogCodec,
) -> Result<SqliteStore, StoreError> {
    let disk_space = DiskSpace::of(path, min_free);
    let (lock, connection) = prepare(path).await?;
    let link = write_link(path)?;
    // After that is there: whoever closes the last one tidies up, for nothing.
    let _ = connection.close().await;
    start(path, lock, link, disk_space, codec).await
}

/// The connection that will write.
pub(super) fn write_link(path: &Path) -> Result<rusqlite::Connection, StoreError> {
    link::connect(path, BUSY_TIMEOUT, WAL_KEPT)
}

/// A connection to a database that is fit for use now.
pub(super) async fn prepare(path: &Path) -> Result<(LockFile, SqliteConnection), StoreError> {
    make_folder(path)?;
    let mut lock = LockFile::take(path)?;
    let fresh = look_at(path)?;
    if fresh && lock.had_database() {
        return Err(StoreError::Unusable {
            reason: format!("{} is missing, though a master has kept jobs in it", path.display()),
            hint: "put it back, or remove the .lock file beside it to begin with an empty one",
        });
    }
    let mut connection = write_options(path).connect().await.map_err(|error| about(path, error))?;
    if !fresh {
        check_pages(path, &mut connection).await?;
    }
    migrate(path, &mut connection).await?;
    lock.note_database()?;
    Ok((lock, connection))
}

pub(super) async fn start(
    path: &Path,
    lock: LockFile,
    link: rusqlite::Connection,
    disk_space: DiskSpace,
    codec: LogCodec,
) -> Result<SqliteStore, StoreError> {
    let disk_space = Arc::new(disk_space);
    disk_space.reserve();
    let file = DatabaseFile::of(path)?;
    let reads = SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(READER_WAIT)
        .connect_with(read_options(path))
        .await
        .map_err(|error| about(path, error))?;
    let counts = Arc::new(count(&link).map_err(|error| about_link(path, error))?);
    let connection = Connection::with_codec(Link::Sqlite(link), codec);
    let engine =
        SqliteEngine::new(connection, lock, file.clone(), disk_space.clone(), counts.clone());
    let writer = writer::start_on_a_thread(engine)?;
    Ok(SqliteStore {
        writer,
        reads: Reads::Sqlite(reads),
        database: Sqlite { file, disk_space, counts },
    })
}

/// Once; from then on the writer keeps it.
fn count(link: &rusqlite::Connection) -> Result<Counts, rusqlite::Error> {
    let mut open: BTreeMap<String, Open> = BTreeMap::new();
    let mut statement = link.prepare(COUNT)?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let (queue, status, count): (String, String, i64) = row.try_into()?;
        let status = status.parse().ok();
        if let Some(sum) = status.and_then(|status| open.entry(queue).or_default().of(status)) {
            *sum += count;
        }
    }
    Ok(Counts::of(open))
}

fn make_folder(path: &Path) -> Result<(), StoreError> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else {
        return Ok(());
    };
    fs::create_dir_all(folder).map_err(|error| StoreError::Unusable {
        reason: format!("the folder {} cannot be created: {error}", folder.display()),
        hint: "create it, or give the database another place",
    })
}

/// Whether the database is yet to be created.
fn look_at(path: &Path) -> Result<bool, StoreError> {
    let length = |path: &Path| match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    };
    let unreadable = |error: io::Error| StoreError::Unusable {
        reason: format!("{} cannot be opened: {error}", path.display()),
        hint: "the database is a file that this user may read and write",
    };
    let fresh = length(path).map_err(unreadable)? == 0;
    // SQLite would take the log for a leftover, and delete it.
    if fresh && length(&beside(path, "-wal")).map_err(unreadable)? > 0 {
        return Err(StoreError::Unusable {
            reason: format!("{} is missing, but its -wal file is there", path.display()),
            hint: "put the database back, or move the -wal file away to begin with an empty one",
        });
    }
    Ok(fresh)
}

pub(super) fn write_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // An answer is given after its commit has reached the disk.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("journal_size_limit", WAL_KEPT)
        .disable_statement_logging()
}

pub(super) fn read_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging()
}

pub(super) async fn check_pages(
    path: &Path,
    connection: &mut SqliteConnection,
) -> Result<(), StoreError> {
    let answer: String = sqlx::query_scalar("PRAGMA quick_check(1)")
        .fetch_one(connection)
        .await
        .map_err(|error| about(path, error))?;
    if answer == "ok" {
        return Ok(());
    }
    // SQLite puts a heading in front of what it found.
    let finding = answer.lines().last().unwrap_or_default();
    Err(StoreError::Unusable {
        reason: format!("{} is damaged: {finding}", path.display()),
        hint: DAMAGED,
    })
}

pub(super) async fn migrate(
    path: &Path,
    connection: &mut SqliteConnection,
) -> Result<(), StoreError> {
    // `run` is generic in a way that makes the future of all who call it not Send.
    let migrated = MIGRATIONS.run_direct(None, connection, false).await;
    if let Err(MigrateError::VersionMissing(_)) = migrated {
        let applied: Vec<(i64, String)> = sqlx::query_as(compatibility::APPLIED)
            .fetch_all(connection)
            .await
            .map_err(|error| about(path, error))?;
        if compatibility::is_compatible(&MIGRATIONS, &applied) {
            return Ok(());
        }
    }
    migrated.map_err(|error| match error {
        MigrateError::VersionMissing(version) => StoreError::Unusable {
            reason: format!(
                "{} was written by a newer Orchestra: its schema is at version {version}",
                path.display()
            ),
            hint: "start that version, or give this one another database",
        },
        MigrateError::VersionMismatch(version) => StoreError::Unusable {
            reason: format!(
                "{} was made by a version that was never released: schema {version} differs",
                path.display()
            ),
            hint: "move it away, or use the version that made it",
        },
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            about(path, error)
        }
        error => StoreError::Unusable {
            reason: format!("{} cannot be migrated: {error}", path.display()),
            hint: "restore it from a backup; if that does not help, report it",
        },
    })
}

/// An error of opening: nothing can go on, and the file is named.
pub(super) fn about(path: &Path, error: sqlx::Error) -> StoreError {
    named(path, error.into())
}

pub(super) fn about_link(path: &Path, error: rusqlite::Error) -> StoreError {
    named(path, error.into())
}

fn named(path: &Path, error: StoreError) -> StoreError {
    match error {
        StoreError::Unavailable { reason, hint: DEFECT } => StoreError::Unusable {
            reason: format!("{}: {reason}", path.display()),
            hint: "if it belongs to another program, give the master a database of its own",
        },
        StoreError::Unavailable { reason, hint } | StoreError::Unusable { reason, hint } => {
            StoreError::Unusable { reason: format!("{}: {reason}", path.display()), hint }
        }
        StoreError::NoRoom { reason } => StoreError::Unusable {
            reason: format!("{}: {reason}", path.display()),
            hint: "make room on its disk",
        },
        corrupt @ StoreError::Corrupt { .. } => corrupt,
    }
}
