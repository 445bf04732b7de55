//! Schedules: what begins by itself. Whoever may submit a job may have it begin at its times.

use orchestra_contracts::paths;

use super::access::{Routes, Rule};

mod change;
mod create;
mod delete;
mod get;
mod list;

pub(super) fn routes() -> Routes {
    Routes::default()
        .post(paths::SCHEDULES, Rule::Client, create::handler)
        .get(paths::SCHEDULES, Rule::Client, list::handler)
        .get(paths::SCHEDULE, Rule::Client, get::handler)
        .patch(paths::SCHEDULE, Rule::Client, change::handler)
        .delete(paths::SCHEDULE, Rule::Client, delete::handler)
}
