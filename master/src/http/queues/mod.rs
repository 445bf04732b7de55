//! Queues: clients list them, admins change them.

use orchestra_contracts::paths;

use super::access::{Routes, Rule};

mod change;
mod list;

pub(super) fn routes() -> Routes {
    Routes::default().get(paths::QUEUES, Rule::Client, list::handler).patch(
        paths::QUEUE,
        Rule::Admin,
        change::handler,
    )
}
