//! The writes, one kind a file, and the reads that belong to them; the same for every database.
//!
//! Everything that changes a job goes through [`Ledger`](ledger::Ledger), and so through the state
//! machine of the domain.

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

    /// Carries out all `calls` within the open transaction; returns their results in order.
    fn run(
        connection: &mut Connection,
        calls: &[Self],
    ) -> impl Future<Output = Result<Vec<Self::Answer>, StoreError>> + Send;

    /// The approximate size of the call, in bytes.
    fn weight(&self) -> usize {
        0
    }

    /// Declares what to lock before the first statement of a transaction with this call, where
    /// other masters write as well.
    fn needs(&self, _: &mut Needs) {}
}

/// The locks that a transaction takes at its beginning, always in the same order.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// Jobs that are changed or waited for.
    pub(super) jobs: BTreeSet<JobId>,
    /// Jobs are added. Ids are given in the order of commits, so that a reader that continues after
    /// the last seen id misses none, and of two submissions with the same key one is first.
    pub(super) ids: bool,
    /// Uploads are added, dropped, or used by new jobs.
    pub(super) uploads: bool,
    /// Rules that all other transactions rely on are changed, so no other transaction may be open.
    pub(super) alone: bool,
}
