//! The API's calls for workers, which `contracts::worker` lists.

use orchestra_contracts::paths;

use super::access::{Routes, Rule};

mod artifact;
mod claim;
mod drain;
mod heartbeat;
mod list;
mod log;
mod orders;
mod register;
mod update;

/// Clients list workers, admins drain them, and any role may ask how much of a log is stored. All
/// other calls are for workers, each acting under its own name.
pub(super) fn routes() -> Routes {
    Routes::default()
        .get(paths::WORKERS, Rule::Client, list::handler)
        .post(paths::DRAIN, Rule::Admin, drain::begin)
        .delete(paths::DRAIN, Rule::Admin, drain::lift)
        .put(paths::WORKER, Rule::Worker, register::handler)
        .post(paths::HEARTBEAT, Rule::Worker, heartbeat::handler)
        .get(paths::ORDERS, Rule::Worker, orders::handler)
        .post(paths::CLAIM, Rule::Worker, claim::handler)
        .post(paths::UPDATE, Rule::Worker, update::handler)
        .get(paths::ATTEMPT_LOG, Rule::AnyRole, log::head)
        .post(paths::ATTEMPT_LOG, Rule::Worker, log::append)
        .post(paths::ATTEMPT_ARTIFACTS, Rule::Worker, artifact::append)
}
