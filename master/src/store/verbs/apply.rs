//! Applies events to jobs by id, and expires leases.

use orchestra_contracts::JobId;

use super::{Needs, Verb, artifacts::Stored, ledger::Ledger};
use crate::{
    domain::{JobEvent, Rules},
    store::{
        Applied, StoreError,
        connection::{Connection, values},
        jitter::spread,
        statement::{Statement, statement},
    },
};

/// Jobs that another transaction is changing are skipped until the next pass.
pub(in crate::store) const EXPIRED: Statement = statement!(()
    "SELECT id FROM job WHERE " ["" | "token IS NOT NULL AND "] "expires_at <= $1 ORDER BY expires_at LIMIT $2"
    ["" | " FOR UPDATE SKIP LOCKED"]);

/// Applies one event to one job.
pub(in crate::store) struct Apply {
    pub(in crate::store) id: JobId,
    pub(in crate::store) event: JobEvent,
    pub(in crate::store) rules: Rules,
}

impl Verb for Apply {
    type Answer = Option<Applied>;

    fn needs(&self, needs: &mut Needs) {
        needs.jobs.insert(self.id);
    }

    async fn run(
        connection: &mut Connection,
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

/// Expires the leases of workers that stopped answering.
pub(in crate::store) struct Expire {
    pub(in crate::store) rules: Rules,
    pub(in crate::store) limit: u32,
}

impl Verb for Expire {
    type Answer = Vec<Applied>;

    /// Calls run one after the other: only upkeep makes them, and rarely.
    async fn run(
        connection: &mut Connection,
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
    async fn expire(&self, connection: &mut Connection) -> Result<Vec<Applied>, StoreError> {
        let ids: Vec<i64> = connection
            .scalars(EXPIRED, values![self.rules.now.as_millisecond(), i64::from(self.limit)])
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
