//! What the replaced database knows and the backup does not: the ids and revocations since then.

use std::path::Path;

use orchestra_contracts::JobId;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use crate::store::{StoreError, settle::GAP, sqlite::open::write_options};

/// Tables whose ids are never given twice.
const COUNTED: [&str; 4] = ["job", "token", "webhook", "delivery"];

/// What was given out after the backup is not given out again.
pub(super) async fn go_on_counting(
    link: &mut SqliteConnection,
    before: Option<&Before>,
) -> Result<JobId, StoreError> {
    for table in COUNTED {
        let then: Option<i64> =
            sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = $1")
                .bind(table)
                .fetch_optional(&mut *link)
                .await?;
        let then = then.unwrap_or_default();
        let last = before.map_or(then.saturating_add(GAP), |before| before.last(table).max(then));
        sqlx::query("DELETE FROM sqlite_sequence WHERE name = $1")
            .bind(table)
            .execute(&mut *link)
            .await?;
        sqlx::query("INSERT INTO sqlite_sequence (name, seq) VALUES ($1, $2)")
            .bind(table)
            .bind(last)
            .execute(&mut *link)
            .await?;
    }
    let last = sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'job'");
    Ok(JobId(last.fetch_one(link).await?))
}

/// What the database that is replaced knows, and the backup cannot.
pub(super) struct Before {
    counted: Vec<(String, i64)>,
    /// Hash and time.
    revoked: Vec<(String, i64)>,
}

impl Before {
    /// `None` where it cannot be read.
    pub(super) async fn of(database: &Path) -> Option<Self> {
        if !database.exists() {
            return None;
        }
        let read = async {
            let mut link = write_options(database).create_if_missing(false).connect().await?;
            let counted = sqlx::query_as("SELECT name, seq FROM sqlite_sequence")
                .fetch_all(&mut link)
                .await?;
            let revoked = "SELECT hash, revoked_at FROM token WHERE revoked_at IS NOT NULL";
            let revoked = sqlx::query_as(revoked).fetch_all(&mut link).await?;
            link.close().await?;
            Ok::<_, sqlx::Error>(Self { counted, revoked })
        };
        read.await
            .inspect_err(|error| tracing::warn!(%error, "the database before cannot be read"))
            .ok()
    }

    fn last(&self, table: &str) -> i64 {
        let counted = self.counted.iter().find(|(name, _)| name == table);
        counted.map_or(0, |(_, last)| *last)
    }

    /// Revokes again the tokens that were revoked after the backup.
    pub(super) async fn revoke(&self, link: &mut SqliteConnection) -> Result<u64, StoreError> {
        let mut revoked = 0;
        for (hash, at) in &self.revoked {
            let revoking = sqlx::query(
                "UPDATE token SET revoked_at = $2 WHERE hash = $1 AND revoked_at IS NULL",
            );
            revoked += revoking.bind(hash).bind(at).execute(&mut *link).await?.rows_affected();
        }
        Ok(revoked)
    }
}
