//! Events for jobs by name, and for those whose lease ran out.

use orchestra_contracts::JobId;
use sqlx::SqliteConnection;

use super::{artifacts::Stored, batch::Verb, ledger::Ledger};
use crate::{
    domain::{JobEvent, Rules},
    store::{Applied, StoreError, spread::spread},
};

pub(super) const EXPIRED: &str =
    "SELECT id FROM job WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2";

/// Applies one event to one job.
pub(super) struct Apply {
    pub(super) id: JobId,
    pub(super) event: JobEvent,
    pub(super) rules: Rules,
}

impl Verb for Apply {
    type Answer = Option<Applied>;

    async fn run(
        connection: &mut SqliteConnection,
        calls: &[Self],
    ) -> Result<Vec<Option<Applied>>, StoreError> {
        let mut ledger = Ledger::load(connection, calls.iter().map(|call| call.id)).await?;
        let events = calls.iter().map(|call| (call.id, &call.event));
        let stored = Stored::load(connection, events).await?;
        let mut answers: Vec<Option<Applied>> = calls
            .iter()
            .map(|call| {
                let event = stored.tell(call.id, call.event.clone());
                ledger.apply(call.id, event, &call.rules)
            })
            .collect();
        let now = calls.iter().map(|call| call.rules.now).max().unwrap_or_default();
        let along = ledger.save(connection, now).await?;
        // Whoever is answered first wakes them all.
        if let Some(first) = answers.iter_mut().flatten().next() {
            first.along = along;
        }
        Ok(answers)
    }

    fn weight(&self) -> usize {
        match &self.event {
            JobEvent::Ended { tail: Some(tail), .. } => tail.output.len() + tail.error.len(),
            _ => 0,
        }
    }
}

/// Takes jobs back from workers that stopped answering.
pub(super) struct Expire {
    pub(super) rules: Rules,
    pub(super) limit: u32,
}

impl Verb for Expire {
    type Answer = Vec<Applied>;

    /// One after the other: upkeep asks for it alone, and rarely.
    async fn run(
        connection: &mut SqliteConnection,
        calls: &[Self],
    ) -> Result<Vec<Vec<Applied>>, StoreError> {
        let mut answers = Vec::with_capacity(calls.len());
        for call in calls {
            answers.push(call.expire(connection).await?);
        }
        Ok(answers)
    }
}

impl Expire {
    async fn expire(&self, connection: &mut SqliteConnection) -> Result<Vec<Applied>, StoreError> {
        let ids: Vec<i64> = sqlx::query_scalar(EXPIRED)
            .bind(self.rules.now.as_millisecond())
            .bind(i64::from(self.limit))
            .fetch_all(&mut *connection)
            .await?;
        let held = ids.iter().copied().map(JobId);
        let mut ledger = Ledger::load_readable(connection, held, self.rules.now).await?;
        let mut expired: Vec<Applied> = ids
            .into_iter()
            .filter_map(|id| {
                let rules = Rules { jitter: spread(self.rules.jitter, id), ..self.rules };
                ledger.apply(JobId(id), JobEvent::LeaseExpired, &rules)
            })
            .collect();
        let along = ledger.save(connection, self.rules.now).await?;
        if let Some(first) = expired.first_mut() {
            first.along = along;
        }
        Ok(expired)
    }
}
