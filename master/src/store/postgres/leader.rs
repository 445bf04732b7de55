//! Leader election: one of the masters does the upkeep. Leadership is an advisory lock that belongs to a
//! session: when the session ends, for whatever reason, the next master that asks becomes the leader.
//!
//! When a network breaks, two masters may take themselves for the leader for a moment. That does no
//! harm: every pass of the upkeep checks in its own transaction whether it is still due.

use std::time::Duration;

use sqlx::{ConnectOptions as _, Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::{errors, job_count, locks::LEADER};
use crate::store::StoreError;

const TAKE: &str = "SELECT pg_try_advisory_lock($1)";
const LEAVE: &str = "SELECT pg_advisory_unlock_all()";
/// Between two looks at the numbers of jobs. Programs from before they were kept leave a row for every job that moves.
const MERGE: Duration = Duration::from_secs(10);
/// A server that does not answer in this time is away, and so is the lock.
const LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Leadership {
    options: PgConnectOptions,
    session: Mutex<Option<Session>>,
}

#[derive(Debug)]
struct Session {
    connection: PgConnection,
    has_it: bool,
    /// When it added up the numbers of jobs.
    merged: Option<Instant>,
}

impl Leadership {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        Self { options, session: Mutex::default() }
    }

    /// Takes the lock where it is free. The leader asks the server whether its session is still alive.
    pub(super) async fn is_ours(&self) -> Result<bool, StoreError> {
        let mut place = self.session.lock().await;
        let mut session = place.take();
        let asked = timeout(LIMIT, self.ask(&mut session)).await;
        match asked {
            Ok(Ok(has_it)) => {
                *place = session;
                Ok(has_it)
            }
            Ok(Err(error)) => Err(errors::about(error)),
            Err(_) => Err(StoreError::Unavailable {
                reason: "the server does not answer".to_owned(),
                hint: errors::AWAY,
            }),
        }
    }

    async fn ask(&self, place: &mut Option<Session>) -> Result<bool, sqlx::Error> {
        let session = match place {
            Some(session) => session,
            None => place.insert(Session {
                connection: self.options.connect().await?,
                has_it: false,
                merged: None,
            }),
        };
        if session.has_it {
            session.connection.ping().await?;
        } else {
            let take = sqlx::query_scalar(TAKE).bind(LEADER);
            session.has_it = take.fetch_one(&mut session.connection).await?;
            if session.has_it {
                tracing::info!("this master does upkeep from now on");
            }
        }
        if session.has_it && session.merged.is_none_or(|last| last.elapsed() > MERGE) {
            job_count::merge(&mut session.connection).await?;
            session.merged = Some(Instant::now());
        }
        Ok(session.has_it)
    }

    /// Gives leadership up, so that another master can take it at once.
    pub(super) async fn leave(&self) {
        let Some(mut session) = self.session.lock().await.take() else { return };
        // The server notices only later that a session has ended.
        let leaves = async {
            sqlx::query(LEAVE).execute(&mut session.connection).await?;
            session.connection.close().await
        };
        let _ = timeout(LIMIT, leaves).await;
    }
}
