//! Opens a PostgreSQL database: connects, checks and migrates.

use std::{str::FromStr as _, time::Duration};

use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection,
    migrate::{MigrateError, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Postgres, PostgresStore,
    engine::PgEngine,
    errors,
    job_count::COUNTS,
    leader::Leadership,
    listener::{self, Inbox},
};
use crate::store::{LogCodec, StoreError, compatibility, connection::Reads, writer};

/// Numbered as SQLite's, from the one at which there were two; a released one is never edited.
pub(in crate::store) static MIGRATIONS: Migrator = sqlx_macros::migrate!("migrations/postgres");

/// At the start; later, those who wait for a connection have more patience.
const CONNECT: Duration = Duration::from_secs(4);
/// A read takes less than a millisecond; a long list, a hundred.
const READERS: u32 = 8;
/// How long a read waits for one of them.
const READER_WAIT: Duration = Duration::from_secs(5);
/// `pg_current_xact_id` is of this version.
const OLDEST: i32 = 130_000;

/// What a session of a master that stands still, or was cut off, may hold up others with, and how
/// long. A commit is answered when it is durable, whatever the server does otherwise.
///
/// No statement is compiled (`jit`): the planner cannot know that a line of jobs is short, takes a claim for dear
/// work, and compiles for a hundred milliseconds what runs for one
/// (<https://www.postgresql.org/docs/current/jit-decision.html>).
///
/// Every statement looks rows up, one by one, by an index. Of a table that is small or was never looked at, the planner
/// thinks that reading all of it is cheaper, and keeps the plan while the table grows: until the first `ANALYZE`, each
/// commit read all jobs. So it is not let choose. Planning anew each time would not do: it takes a list of ten ids
/// for a hundred, for which it would still read a few thousand rows.
const SESSION: [(&str, &str); 13] = [
    COUNTS,
    ("jit", "off"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_material", "off"),
    ("synchronous_commit", "on"),
    ("idle_in_transaction_session_timeout", "10s"),
    ("lock_timeout", "5s"),
    ("statement_timeout", "30s"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
];

pub(super) async fn open(url: &str, codec: LogCodec) -> Result<PostgresStore, StoreError> {
    let options = options(url)?;
    let mut connection = connect(&options).await?;
    check(&mut connection).await?;
    migrate(&options).await?;
    // Settings of the server may demand less than it takes; these sessions demand it.
    let reads = PgPoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(READER_WAIT)
        .connect_lazy_with(options.clone().options([("default_transaction_read_only", "on")]));
    let name = format!("{:016x}", rand::random::<u64>());
    let (inbox, closing, tasks) = (Inbox::default(), CancellationToken::new(), TaskTracker::new());
    tasks.spawn(listener::listen(options.clone(), name.clone(), inbox.clone(), closing.clone()));
    tasks.close();
    let leadership = Leadership::new(options.clone());
    let writer = writer::start(PgEngine::new(options, connection, codec, name));
    let database = Postgres { inbox, leadership, closing, tasks };
    Ok(PostgresStore { writer, reads: Reads::Postgres(reads), database })
}

/// A session that may take its time, to a database whose tables are up to date.
pub(in crate::store) async fn for_transfer(url: &str) -> Result<PgConnection, StoreError> {
    let options = options(url)?;
    let mut connection = connect(&options).await?;
    check(&mut connection).await?;
    migrate(&options).await?;
    let patient = options.options([
        ("statement_timeout", "0"),
        ("idle_in_transaction_session_timeout", "0"),
        ("bytea_output", "hex"),
    ]);
    let _ = connection.close().await;
    connect(&patient).await
}

/// The URL may hold a password: no error repeats it.
pub(super) fn options(url: &str) -> Result<PgConnectOptions, StoreError> {
    let options = PgConnectOptions::from_str(url).map_err(|_| StoreError::Unusable {
        reason: "the URL of the PostgreSQL database cannot be read".to_owned(),
        hint: "write postgres://user:password@host:5432/database, with %40 for an @ in the password",
    })?;
    let options = options.application_name("orchestra").options(SESSION);
    Ok(options.disable_statement_logging())
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, StoreError> {
    let connected = timeout(CONNECT, options.connect()).await;
    let error = match connected {
        Ok(Ok(connection)) => return Ok(connection),
        Ok(Err(error)) => errors::about(error),
        Err(_) => StoreError::Unavailable {
            reason: format!("{} does not answer", options.get_host()),
            hint: errors::AWAY,
        },
    };
    Err(unusable(error))
}

/// An error that keeps the database from being opened.
fn unusable(error: StoreError) -> StoreError {
    match error {
        StoreError::Unavailable { reason, hint } | StoreError::Unusable { reason, hint } => {
            StoreError::Unusable { reason: format!("PostgreSQL: {reason}"), hint }
        }
        StoreError::NoRoom { reason } => StoreError::Unusable {
            reason: format!("PostgreSQL: {reason}"),
            hint: "make room on its disk",
        },
        corrupt @ StoreError::Corrupt { .. } => corrupt,
    }
}

async fn check(connection: &mut PgConnection) -> Result<(), StoreError> {
    let question =
        "SELECT current_setting('server_version_num')::int, current_setting('server_encoding')";
    let asked = sqlx::query_as(question).fetch_one(connection).await;
    let (version, encoding): (i32, String) =
        asked.map_err(|error| unusable(errors::about(error)))?;
    if version < OLDEST {
        return Err(StoreError::Unusable {
            reason: format!("PostgreSQL: the server is of version {}", version / 10_000),
            hint: "version 13 or later is needed",
        });
    }
    if encoding != "UTF8" {
        return Err(StoreError::Unusable {
            reason: format!("PostgreSQL: the database is encoded in {encoding}"),
            hint: "create it with ENCODING 'UTF8'",
        });
    }
    Ok(())
}

/// Under a lock of sqlx's: of masters that start together, one migrates and the others wait for it.
async fn migrate(options: &PgConnectOptions) -> Result<(), StoreError> {
    let patient = options.clone().options([("lock_timeout", "0"), ("statement_timeout", "0")]);
    let mut connection = connect(&patient).await?;
    // `run` is generic in a way that makes the future of all who call it not Send.
    let migrated = MIGRATIONS.run_direct(None, &mut connection, false).await;
    let mut is_compatible = false;
    if let Err(MigrateError::VersionMissing(_)) = migrated {
        let applied = sqlx::query_as(compatibility::APPLIED).fetch_all(&mut connection).await;
        let applied: Vec<(i64, String)> =
            applied.map_err(|error| unusable(errors::about(error)))?;
        is_compatible = compatibility::is_compatible(&MIGRATIONS, &applied);
    }
    let _ = connection.close().await;
    if is_compatible {
        return Ok(());
    }
    migrated.map_err(|error| match error {
        MigrateError::VersionMissing(version) => StoreError::Unusable {
            reason: format!(
                "PostgreSQL: the database was written by a newer Orchestra: its schema is at version {version}"
            ),
            hint: "start that version, or give this one another database",
        },
        MigrateError::VersionMismatch(version) => StoreError::Unusable {
            reason: format!(
                "PostgreSQL: the database was made by a version that was never released: schema {version} differs"
            ),
            hint: "give this one another database, or use the version that made it",
        },
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            unusable(errors::about(error))
        }
        error => StoreError::Unusable {
            reason: format!("PostgreSQL: the database cannot be migrated: {error}"),
            hint: "restore it from a backup; if that does not help, report it",
        },
    })
}
