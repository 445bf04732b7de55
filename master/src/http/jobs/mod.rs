//! The API's calls about jobs, for clients.

use orchestra_contracts::paths;

use super::access::{Routes, Rule};

mod artifacts;
mod attempts;
mod cancel;
mod changes;
mod delete;
mod explain;
mod get;
mod list;
mod log;
mod repro;
mod retry;
mod submit;

pub(super) use list::List;

pub(super) fn routes() -> Routes {
    Routes::default()
        .post(paths::JOBS, Rule::Client, submit::handler)
        .get(paths::JOBS, Rule::Client, list::handler)
        .get(paths::PENDING, Rule::Client, list::pending)
        .get(paths::JOB, Rule::Client, get::handler)
        .delete(paths::JOB, Rule::Client, delete::handler)
        .post(paths::CANCEL, Rule::Client, cancel::handler)
        .post(paths::RETRY, Rule::Client, retry::handler)
        .get(paths::EXPLAIN, Rule::Client, explain::handler)
        .get(paths::LOG, Rule::Client, log::handler)
        .get(paths::REPRO, Rule::Client, repro::handler)
        .get(paths::ATTEMPTS, Rule::Client, attempts::handler)
        .get(paths::ARTIFACTS, Rule::Client, artifacts::handler)
        .get(paths::ARTIFACT, Rule::Client, artifacts::file::handler)
        .get(paths::CHANGES, Rule::Client, changes::handler)
}
