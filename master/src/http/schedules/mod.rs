//! Schedules, which submit jobs at set times. They need the same role as a submission.

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
