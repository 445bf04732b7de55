//! Writes a batch to PostgreSQL: at the level READ COMMITTED, with locks.
//!
//! What a transaction takes, in this order, so that two wait for each other in one order only:
//! 1. [`ORDER`], shared; alone where it changes rules of queues, schedules or webhooks, which others
//!    read once in their transactions and go by to their end;
//! 2. [`IDS`], where it adds jobs, and [`UPLOADS`], where it has to do with those;
//! 3. the rows of the jobs that it was asked to change, or that its new jobs wait for, by id;
//! 4. what it finds on its way: queues that have a bound, those who wait for a job that ends, their arrays.
//!    Claims and expiry take no row that somebody else has: they pass it by.
//!
//! The last may meet in another order, rarely. PostgreSQL then ends one of the two, which is done again.

use std::time::Duration;

use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection, Postgres, postgres::PgConnectOptions,
};
use tokio::time::{Instant, sleep, timeout};

use super::{
    errors::{self, AWAY, CONFLICT},
    job_count,
    locks::{IDS, ORDER, UPLOADS},
};
use crate::store::{
    LogCodec, StoreError,
    connection::{Connection, Link},
    verbs::Needs,
    writer::{Batch, Engine},
};

/// How long callers wait for a server that restarts.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause between two tries to connect, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How often a batch is tried that conflicts with other transactions.
const TRIES: u32 = 5;
/// A transaction that takes longer has lost its server. No lock is waited for as long.
const LIMIT: Duration = Duration::from_mins(1);

/// The writing session.
pub(super) struct PgEngine {
    options: PgConnectOptions,
    connection: Option<Connection>,
    codec: LogCodec,
    /// What this master is called among those who listen, and in the rows of its numbers.
    name: String,
    /// The commit was sent, and not answered.
    committing: bool,
}

impl PgEngine {
    pub(super) fn new(
        options: PgConnectOptions,
        connection: PgConnection,
        codec: LogCodec,
        name: String,
    ) -> Self {
        let connection = Some(Connection::with_codec(Link::Postgres(connection), codec));
        Self { options, connection, codec, name, committing: false }
    }

    /// One try, from the first lock to the commit.
    async fn attempt(&mut self, batch: &mut Batch, needs: &Needs) -> Result<(), StoreError> {
        self.committing = false;
        let connection = if let Some(connection) = &mut self.connection {
            connection
        } else {
            let link = self.options.connect().await.map_err(errors::about)?;
            tracing::info!("the database is reached again");
            self.connection.insert(Connection::with_codec(Link::Postgres(link), self.codec))
        };
        connection.notification.take();
        connection.tally.take();
        tell(connection, begin(needs)).await?;
        let jobs: Vec<_> = needs.jobs.iter().copied().collect();
        connection.lock_jobs(&jobs).await?;
        batch.run(connection).await?;
        let (notification, tally) = (connection.notification.take(), connection.tally.take());
        let told = job_count::tell(postgres(connection)?, &self.name, tally, notification).await;
        told.map_err(errors::about)?;
        self.committing = true;
        tell(connection, "COMMIT".to_owned()).await
    }

    /// After a failure: the session that can be used on, or none.
    async fn give_up(&mut self, error: &StoreError) {
        let Some(mut connection) = self.connection.take() else { return };
        if is_away(error) {
            return;
        }
        let rolled_back = timeout(LIMIT, tell(&mut connection, "ROLLBACK".to_owned())).await;
        if matches!(rolled_back, Ok(Ok(()))) {
            self.connection = Some(connection);
        }
    }
}

impl Engine for PgEngine {
    async fn prepare(&mut self, _: &mut Batch) {}

    async fn transact(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        let needs = batch.needs();
        let (begun, mut pause, mut tries) = (Instant::now(), PAUSE.0, 1);
        loop {
            let error = match timeout(LIMIT, self.attempt(batch, &needs)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error,
                Err(_) => silent(),
            };
            self.give_up(&error).await;
            if self.committing && is_away(&error) {
                // It may be done. Done again, it would be done twice: whoever asked has to look.
                return Err(unknown(&error));
            }
            if is_away(&error) && begun.elapsed() < PATIENCE {
                sleep(pause).await;
                pause = (2 * pause).min(PAUSE.1);
            } else if is_conflict(&error) && tries < TRIES {
                tries += 1;
            } else {
                return Err(error);
            }
        }
    }

    fn makes_room(&mut self, _: &StoreError) -> bool {
        false
    }

    async fn close(self) {
        if let Some(Link::Postgres(link)) = self.connection.map(Connection::into_link) {
            let _ = timeout(LIMIT, link.close()).await;
        }
    }
}

/// The first locks, on one way to the server and back.
fn begin(needs: &Needs) -> String {
    let shared = if needs.alone { "" } else { "_shared" };
    let lock = |wanted: bool, lock: i64| {
        if wanted { format!("; SELECT pg_advisory_xact_lock({lock})") } else { String::new() }
    };
    format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock{shared}({ORDER}){}{}",
        lock(needs.ids, IDS),
        lock(needs.uploads, UPLOADS),
    )
}

async fn tell(connection: &mut Connection, statements: String) -> Result<(), StoreError> {
    let link = postgres(connection)?;
    let told = sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(link).await;
    told.map(drop).map_err(errors::about)
}

fn postgres(
    connection: &mut Connection,
) -> Result<&mut <Postgres as sqlx::Database>::Connection, StoreError> {
    match connection.link() {
        Link::Postgres(link) => Ok(link),
        Link::Sqlite(_) => Err(errors::about(sqlx::Error::WorkerCrashed)),
    }
}

fn is_away(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable { hint, .. } if *hint == AWAY)
}

fn is_conflict(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable { hint, .. } if *hint == CONFLICT)
}

fn silent() -> StoreError {
    StoreError::Unavailable { reason: "the server does not answer".to_owned(), hint: AWAY }
}

fn unknown(error: &StoreError) -> StoreError {
    StoreError::Unavailable {
        reason: format!("whether it was stored is not known: {error}"),
        hint: "look, or send it again: with its Idempotency-Key it is done once",
    }
}
