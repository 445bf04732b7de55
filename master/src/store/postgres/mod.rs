//! The store in PostgreSQL, which several masters share.
//!
//! ```text
//! each master:  Writer --one session--> transactions        pool of sessions that only read
//!               listener <--LISTEN-- what the others commit     leader: a lock, held by one of the masters
//!               job_count: numbers of jobs, each master's in rows of its own
//! ```
//! Every transaction repeats in its statements what it read, as in SQLite; here others write at the
//! same time, and what it is about to change it locks first: [`engine`] says what, and in which order.

mod engine;
pub(super) mod errors;
pub(super) mod job_count;
mod leader;
mod listener;
mod locks;
pub(super) mod open;

use async_trait::async_trait;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{leader::Leadership, listener::Inbox};
use super::{
    LogCodec, Notification, StoreError,
    database::{Database, SqlStore},
};

/// A database that several masters may share.
pub type PostgresStore = SqlStore<Postgres>;

/// What a master holds of it besides the connections.
#[derive(Debug)]
pub struct Postgres {
    inbox: Inbox,
    leadership: Leadership,
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl PostgresStore {
    /// Connects to the database that the URL names, and brings its tables up to date.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] when it cannot be reached, or is of a newer version.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        Self::open_with(url, LogCodec::default()).await
    }

    /// Like [`Self::open`], but compresses logs with `codec`.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_with(url: &str, codec: LogCodec) -> Result<Self, StoreError> {
        open::open(url, codec).await
    }
}

#[async_trait]
impl Database for Postgres {
    fn check_reads(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn notification(&self) -> Notification {
        self.inbox.next().await
    }

    async fn leads(&self) -> Result<bool, StoreError> {
        self.leadership.is_ours().await
    }

    async fn close(&self) {
        self.closing.cancel();
        self.tasks.wait().await;
        self.leadership.leave().await;
    }
}

#[cfg(test)]
mod tests;
