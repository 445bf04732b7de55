//! What has to be done with a database that has gone back in time, before a master goes on with it.
//!
//! Workers may still run what the database knows nothing of: attempts that began after the backup,
//! and those that it says are under way. Their leases are not in it, so whatever they report is refused, and
//! their containers end by themselves at the end of a lease that nobody renews. Nothing may be
//! handed out before that.

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
    /// Attempts that were under way: they have ended as lost. Their jobs wait to be tried again, on our
    /// budget, or have failed where they may not run twice.
    pub lost: u64,
    /// Jobs that may not run twice, and had not begun. They may have since, so they are cancelled.
    pub cancelled: u64,
    /// Jobs that wait. They may have run since, and will run again.
    pub waiting: u64,
}

/// When nothing that workers have begun runs any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettleTerms {
    pub now: Timestamp,
    /// The lease of jobs that ask for none of their own.
    pub lease: Span,
}

impl SettleTerms {
    /// A restore is nobody's fault: no budget is too small for it, and no job is poison because of it.
    fn rules(self) -> Rules {
        let retry = RetryPolicy {
            infra_budget: u32::MAX,
            poison_after: u32::MAX,
            ..RetryPolicy::default()
        };
        Rules { now: self.now, retry, jitter: 1.0 }
    }
}

/// Where it is not known which ids were given out since the backup, they go on so far behind those that are in it.
pub(super) const GAP: i64 = 1_000_000;

/// So many jobs at once.
const BATCH: u32 = 100;

/// No lease outlasts this moment.
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

/// Does it, within the transaction that is open, while no master has the database.
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
