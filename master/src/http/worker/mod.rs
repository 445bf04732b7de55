//! The calls that workers make. `contracts::worker` lists them.

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

/// People list workers, operators drain them, people ask how much of a log there is; the rest is for workers,
/// each under its own name.
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
