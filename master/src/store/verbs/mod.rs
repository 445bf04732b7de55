//! The writes, one kind a file, and the reads that belong to them; the same for every database.
//!
//! Everything that changes a job goes through [`Ledger`](ledger::Ledger) and so
//! through the machine of the domain.

pub(super) mod append;
pub(super) mod apply;
pub(super) mod artifacts;
pub(super) mod claim;
pub(super) mod insert;
pub(super) mod ledger;
pub(super) mod lines;
pub(super) mod list;
mod once;
pub(super) mod outbox;
mod probe;
pub(super) mod prune;
pub(super) mod queues;
pub(super) mod release;
pub(super) mod renew;
pub(super) mod schedules;
mod set_aside;
mod tokens;
pub(super) mod uploads;
pub(super) mod webhooks;
pub(super) mod workers;

use std::collections::BTreeSet;

use orchestra_contracts::JobId;

pub(super) use self::{
    apply::{Apply, Expire},
    claim::ClaimBatch,
    insert::Insert,
    outbox::Redeliver,
    probe::Probe,
    prune::Prune,
    queues::{ChangeQueue, Drain},
    renew::Renew,
    schedules::{AddSchedule, ChangeSchedule, RemoveSchedule},
    tokens::{AddToken, RevokeToken},
    uploads::ForgetUploads,
    webhooks::{AddWebhook, RemoveWebhook},
    workers::Register,
};
use super::{StoreError, connection::Connection};

/// A kind of write.
pub(super) trait Verb: Sized + Send + Sync + 'static {
    type Answer: Send;

    /// Does all `calls` within the transaction that is open, and answers in their order.
    fn run(
        connection: &mut Connection,
        calls: &[Self],
    ) -> impl Future<Output = Result<Vec<Self::Answer>, StoreError>> + Send;

    /// About how many bytes it brings along.
    fn weight(&self) -> usize {
        0
    }

    /// Says what must be locked before the first statement of a transaction with it, where other
    /// masters write as well.
    fn needs(&self, _: &mut Needs) {}
}

/// What a transaction locks at its beginning, so that two of them wait for each other in one order.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// Jobs that are changed, or waited for.
    pub(super) jobs: BTreeSet<JobId>,
    /// Jobs are added: ids are given in the order of commits, so that who reads on behind the last
    /// id that was seen misses none, and one of two with the same key is first.
    pub(super) ids: bool,
    /// Uploads are brought, forgotten, or had by new jobs.
    pub(super) uploads: bool,
    /// It changes what all others go by, so it is done while no other transaction is open.
    pub(super) alone: bool,
}
