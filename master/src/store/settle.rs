//! Settles a database that was restored from a backup, before a master uses it.
//!
//! Workers may still run attempts that the database does not know, or believes to have begun. It
//! has no leases of them, so their reports are refused, and their containers end by themselves when
//! nobody renews their leases. Until then no job may be handed out.

use jiff::Timestamp;
use orchestra_contracts::{JobId, Span};

use super::{
    StoreError,
    connection::{Connection, values},
    statement::{Statement, statement},
    verbs::{Expire, Verb as _, ledger::Ledger},
};
use crate::domain::{JobEvent, JobState, RetryPolicy, Rules};

/// What became of jobs that had not ended when the backup was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Running attempts, which have ended as lost. Their jobs are retried on our budget, or have
    /// failed if they may not run twice.
    pub lost: u64,
    /// Jobs that may not run twice and had not begun. They may have begun since the backup, so they
    /// are cancelled.
    pub cancelled: u64,
    /// Pending jobs. They may have run since the backup, and will run again.
    pub waiting: u64,
}

/// When everything that workers have begun has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettleTerms {
    pub now: Timestamp,
    /// The lease of jobs that ask for none of their own.
    pub lease: Span,
}

impl SettleTerms {
    /// A restoration is nobody's fault: it exhausts no retry budget, and marks no job as poison.
    fn rules(self) -> Rules {
        let retry = RetryPolicy {
            infra_budget: u32::MAX,
            poison_after: u32::MAX,
            ..RetryPolicy::default()
        };
        Rules { now: self.now, retry, jitter: 1.0 }
    }
}

/// The gap in the ids where it is not known which were given out since the backup.
pub(super) const GAP: i64 = 1_000_000;

/// How many jobs are read at once.
const BATCH: u32 = 100;

/// The time by which all leases have expired.
const END_LEASES: Statement =
    Statement::plain("UPDATE job SET expires_at = $1 WHERE token IS NOT NULL AND expires_at > $1");

/// Those that may say so of themselves; their spec tells.
const AT_MOST_ONCE: Statement = Statement::plain(
    "SELECT id FROM job WHERE status = 'Pending' AND id > $1 AND spec LIKE '%\"onLost\":false%'
     ORDER BY id LIMIT $2",
);

const PUT_OFF: Statement = statement!(()
    "UPDATE job SET waits_for = 'time',
         not_before = " ["max" | "greatest"] "(coalesce(not_before, 0), $1 + coalesce(lease, $2))
     WHERE status = 'Pending' AND waits_for IN ('worker', 'time')");

const WAITING: Statement =
    Statement::plain("SELECT CAST(count(*) AS BIGINT) FROM job WHERE status = 'Pending'");

/// Settles the jobs within the open transaction, while no master has the database.
pub(super) async fn settle(
    connection: &mut Connection,
    terms: SettleTerms,
) -> Result<Settled, StoreError> {
    let (rules, now) = (terms.rules(), terms.now.as_millisecond());
    connection.change(END_LEASES, values![now]).await?;
    let mut settled = Settled::default();
    loop {
        let expired = Expire::run(connection, &[Expire { rules, limit: BATCH }]).await?;
        let count = expired.iter().map(Vec::len).sum::<usize>();
        settled.lost += count as u64;
        if count < BATCH as usize {
            break;
        }
    }
    settled.cancelled = cancel_at_most_once(connection, rules).await?;
    connection.change(PUT_OFF, values![now, terms.lease.as_millis()]).await?;
    settled.waiting = connection.scalar(WAITING, values![]).await?.unwrap_or(0_i64) as u64;
    Ok(settled)
}

async fn cancel_at_most_once(connection: &mut Connection, rules: Rules) -> Result<u64, StoreError> {
    let (mut last, mut cancelled) = (0, 0);
    loop {
        let ids: Vec<i64> =
            connection.scalars(AT_MOST_ONCE, values![last, i64::from(BATCH)]).await?;
        let Some(newest) = ids.last() else { return Ok(cancelled) };
        last = *newest;
        let listed = ids.iter().copied().map(JobId);
        let mut ledger = Ledger::load_readable(connection, listed, rules.now).await?;
        for id in ids.into_iter().map(JobId) {
            let once = ledger.job(id).is_some_and(|job| {
                !job.spec.retry.on_lost && matches!(job.state, JobState::Pending { .. })
            });
            if once && ledger.moved(id, JobEvent::CancelRequested, &rules).is_some() {
                cancelled += 1;
            }
        }
        ledger.save(connection, rules.now).await?;
    }
}
